"""Everything that is not needed on a robot: training, synthetic people, evaluation and replay."""
