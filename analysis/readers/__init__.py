"""One module for each kind of study that ``analysis.study.load_study`` reads."""
