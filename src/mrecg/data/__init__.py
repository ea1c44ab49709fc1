"""Images for calibration and evaluation."""
