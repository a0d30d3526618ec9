"""The SQL of consumers, applications, keys, subscriptions, workers and usage; migrations."""
