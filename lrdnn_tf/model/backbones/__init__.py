"""One module per backbone, named as in `lrdnn_tf.config.BACKBONES`. Each defines:

feature_maps(images, last_stride)   function from a Keras tensor of RGB images [B, H, W, 3], 0..255, to the maps F
APPLICATION                         function of tf_keras.applications with ImageNet weights for its layers, or None
"""
