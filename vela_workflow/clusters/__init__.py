"""API servers: the client, the watch hub, the clusters that have joined. The only place that asks them anything."""
