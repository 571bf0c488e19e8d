"""What the tables and studies share: rows, their steps, running them, the page."""

import lrdnn_base.command  # noqa: F401, before the modules here import TensorFlow, whose start-up messages it drops
