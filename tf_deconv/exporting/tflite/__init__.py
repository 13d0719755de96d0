"""The TFLite files: conversion, quantisation, and rewriting for every runtime."""
