"""Operators of TensorFlow that only compute: what a SavedModel of strangers may hold.

Left out is what reaches files (ReadFile, WriteFile, MatchingFiles, tables and datasets from files,
summaries, PrintV2, which can print into a file), the network, Python (PyFunc), other devices or
processes, and code in other languages (XlaCallModule). `tests/inference/test_strangers.py` looks
whether TensorFlow has them all.
"""

from __future__ import annotations

# Of the two functions with which a SavedModel's variables are saved and restored.
SAVING = frozenset({"SaveV2", "MergeV2Checkpoints", "ShardedFilename"})
RESTORING = frozenset({"RestoreV2"})

_FLOW = """
    Assert Case DeviceIndex Enter Exit FakeParam If Identity IdentityN
    LoopCond Merge NextIteration NoOp PartitionedCall Placeholder PlaceholderWithDefault
    PreventGradient RefIdentity StatefulPartitionedCall StatelessCase StatelessIf StatelessWhile
    StopGradient Switch While CheckNumerics CheckNumericsV2 EnsureShape
"""
_VARIABLES = """
    AssignAddVariableOp AssignSubVariableOp AssignVariableOp DestroyResourceOp DisableCopyOnRead
    ReadVariableOp ResourceGather ResourceGatherNd ResourceScatterAdd ResourceScatterUpdate
    VarHandleOp VarIsInitializedOp VariableShape
"""
_ARRAYS = """
    BatchToSpace BatchToSpaceND Bitcast BroadcastArgs BroadcastTo Cast Concat ConcatOffset ConcatV2
    Const DepthToSpace Diag DiagPart DynamicPartition DynamicStitch Empty ExpandDims Fill Gather
    GatherNd GatherV2 GuaranteeConst HashTableV2 InvertPermutation LinSpace LookupTableFindV2
    LookupTableImportV2 LookupTableSizeV2 MatrixBandPart MatrixDiag MatrixDiagPart MatrixDiagPartV3
    MatrixDiagV3 MatrixSetDiagV3 MirrorPad OneHot OnesLike Pack Pad PadV2 ParallelConcat
    ParallelDynamicStitch Range Rank Reshape Reverse ReverseSequence ReverseV2 Roll ScatterNd
    ScatterNdNonAliasingAdd Select SelectV2 Shape ShapeN Size Slice Snapshot SpaceToBatch
    SpaceToBatchND SpaceToDepth Split SplitV Squeeze StridedSlice TensorListConcatV2
    TensorListElementShape TensorListFromTensor TensorListGather TensorListGetItem TensorListLength
    TensorListPopBack TensorListPushBack TensorListReserve TensorListResize TensorListScatterV2
    TensorListSetItem TensorListSplit TensorListStack TensorScatterAdd TensorScatterMax
    TensorScatterMin TensorScatterSub TensorScatterUpdate TensorStridedSliceUpdate Tile Transpose
    TopK TopKV2 Unique UniqueV2 UniqueWithCounts Unpack Where ZerosLike EmptyTensorList
    TensorArrayV3 TensorArrayReadV3 TensorArrayWriteV3 TensorArraySizeV3 TensorArrayGatherV3
    TensorArrayScatterV3 TensorArrayConcatV3 TensorArraySplitV3 TensorArrayCloseV3
"""
_MATHS = """
    Abs AccumulateNV2 Acos Acosh Add AddN AddV2 All Angle Any ApproximateEqual ArgMax ArgMin Asin
    Asinh Atan Atan2 Atanh BatchMatMul BatchMatMulV2 BatchMatMulV3 Betainc Bincount BitwiseAnd
    BitwiseOr BitwiseXor Bucketize Ceil ClipByValue Complex ComplexAbs Conj Cos Cosh Cross Cumprod
    Cumsum CumulativeLogsumexp Digamma Div DivNoNan Einsum Equal Erf Erfc Erfinv Exp Expm1 Floor
    FloorDiv FloorMod Greater GreaterEqual HistogramFixedWidth Igamma Igammac Imag Inv Invert
    IsFinite IsInf IsNan LeftShift Less LessEqual Lgamma Log Log1p LogicalAnd LogicalNot LogicalOr
    MatMul Max Maximum Mean Min Minimum Mod Mul MulNoNan Ndtri Neg NextAfter NotEqual Polygamma Pow
    Prod Real RealDiv Reciprocal RightShift Rint Round Rsqrt SegmentMax SegmentMean SegmentMin
    SegmentProd SegmentSum Sigmoid Sign Sin Sinh Softplus Sqrt Square SquaredDifference Sub Sum Tan
    Tanh TruncateDiv TruncateMod UnsortedSegmentMax UnsortedSegmentMin UnsortedSegmentProd
    UnsortedSegmentSum Xdivy Xlog1py Xlogy Zeta FFT FFT2D FFT3D IFFT IFFT2D IFFT3D IRFFT IRFFT2D
    RFFT RFFT2D Cholesky MatrixDeterminant MatrixInverse MatrixSolve MatrixTriangularSolve Qr Svd
    SelfAdjointEigV2 EuclideanNorm InTopKV2 LowerBound UpperBound
"""
_NETWORKS = """
    AvgPool AvgPool3D AvgPoolGrad BiasAdd BiasAddV1 Conv Conv2D Conv2DBackpropFilter
    Conv2DBackpropFilterV2 Conv2DBackpropInput Conv2DBackpropInputV2 Conv3D Conv3DBackpropInputV2
    DataFormatDimMap DataFormatVecPermute DepthwiseConv2dNative
    DepthwiseConv2dNativeBackpropInput Dilation2D Elu FakeQuantWithMinMaxArgs
    FakeQuantWithMinMaxVars FakeQuantWithMinMaxVarsPerChannel FractionalAvgPool FractionalMaxPool
    FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3 FusedPadConv2D FusedResizeAndPadConv2D L2Loss
    LRN LeakyRelu LogSoftmax MaxPool MaxPool3D MaxPoolV2 MaxPoolWithArgmax NthElement
    QuantizeAndDequantizeV2 QuantizeAndDequantizeV3 QuantizeAndDequantizeV4 QuantizeV2 Dequantize
    Relu Relu6 Selu Softmax SoftmaxCrossEntropyWithLogits SparseSoftmaxCrossEntropyWithLogits
    Softsign UniformQuantize UniformDequantize _FusedConv2D _FusedMatMul
"""
_IMAGES = """
    AdjustContrastv2 AdjustHue AdjustSaturation CropAndResize DecodeAndCropJpeg DecodeBmp DecodeGif
    DecodeImage DecodeJpeg DecodePng DrawBoundingBoxes DrawBoundingBoxesV2 EncodeJpeg
    EncodeJpegVariableQuality EncodePng ExtractGlimpseV2 ExtractImagePatches ExtractJpegShape
    HSVToRGB ImageProjectiveTransformV2 ImageProjectiveTransformV3 NonMaxSuppressionV3
    NonMaxSuppressionV4 NonMaxSuppressionV5 QuantizedResizeBilinear RGBToHSV ResizeArea
    ResizeBicubic ResizeBilinear ResizeNearestNeighbor ScaleAndTranslate
"""
_TEXTS = """
    AsString DecodeBase64 DecodeCompressed DecodePaddedRaw DecodeRaw EncodeBase64 ReduceJoin
    RegexFullMatch RegexReplace StaticRegexFullMatch StaticRegexReplace StringFormat StringJoin
    StringLength StringLower StringSplit StringSplitV2 StringStrip StringToHashBucketFast
    StringToNumber StringUpper Substr UnicodeTranscode ParseTensor SerializeTensor ParseExampleV2
"""
_CHANCE = """
    Multinomial ParameterizedTruncatedNormal RandomGamma RandomPoissonV2 RandomShuffle
    RandomStandardNormal RandomUniform RandomUniformInt RngReadAndSkip RngSkip
    StatefulStandardNormalV2 StatefulUniform StatefulUniformInt StatelessMultinomial
    StatelessRandomBinomial StatelessRandomGammaV2 StatelessRandomGetAlg
    StatelessRandomGetKeyCounter StatelessRandomGetKeyCounterAlg StatelessRandomNormal
    StatelessRandomNormalV2
    StatelessRandomPoisson StatelessRandomUniform StatelessRandomUniformFullInt
    StatelessRandomUniformFullIntV2 StatelessRandomUniformInt StatelessRandomUniformIntV2
    StatelessRandomUniformV2 StatelessTruncatedNormal StatelessTruncatedNormalV2 TruncatedNormal
"""

_GROUPS = (_FLOW, _VARIABLES, _ARRAYS, _MATHS, _NETWORKS, _IMAGES, _TEXTS, _CHANCE)
ALLOWED = frozenset(name for group in _GROUPS for name in group.split())
