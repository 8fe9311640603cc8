"""Figures that explain a trained classifier: predictions, filters, feature maps, Grad-CAM and guided gradients."""
