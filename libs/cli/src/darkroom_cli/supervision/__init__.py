"""Starting, watching and stopping programs. Knows nothing of photographs, Kafka or databases."""
