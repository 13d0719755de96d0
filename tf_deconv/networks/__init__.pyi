from tf_deconv.networks.article import build_article as build_article
from tf_deconv.networks.flow import build_flow as build_flow
from tf_deconv.networks.unet import build_unet as build_unet
from tf_deconv.networks.vae import build_vae as build_vae
from tf_deconv.networks.video import build_video as build_video
