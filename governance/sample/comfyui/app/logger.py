import logging
import sys


def setup_logger(log_level="INFO", use_stdout=False):
    plain = logging.Formatter("%(message)s")
    logger = logging.getLogger()
    logger.setLevel(log_level)
    stderr = logging.StreamHandler()
    stderr.setFormatter(plain)
    if use_stdout:
        stderr.addFilter(lambda record: record.levelno >= logging.ERROR)
        stdout = logging.StreamHandler(sys.stdout)
        stdout.setFormatter(plain)
        stdout.addFilter(lambda record: record.levelno < logging.ERROR)
        logger.addHandler(stdout)
    logger.addHandler(stderr)
