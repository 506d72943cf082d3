"""Looking at data before training: records with their regions, samples as tokens, statistics with plots."""
