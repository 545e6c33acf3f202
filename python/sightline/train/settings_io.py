"""The earlier location of `sightline.settings.read`, kept until 1.0 for programs that import it."""

from sightline.settings.read import config_layer, override_layer, resolve, to_yaml, write_config

__all__ = ["config_layer", "override_layer", "resolve", "to_yaml", "write_config"]
