"""What the tables and studies share: rows, their steps, running them, the page."""

import lrdnn_base.command  # noqa: F401, keeps TensorFlow quiet, which the modules here import
