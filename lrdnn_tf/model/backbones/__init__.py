"""One file per backbone, named as in `lrdnn_tf.config.BACKBONES`. Each defines

feature_maps(images, last_stride)   Keras tensor of RGB images [B, H, W, 3], 0..255, to the feature maps F
APPLICATION                         function of tf_keras.applications whose ImageNet weights fit by layer name, or None
"""
