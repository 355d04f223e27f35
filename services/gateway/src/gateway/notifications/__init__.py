"""How notices reach people: log, webhook, email, WebSocket. Which ones, the catalog says."""
