"""The api door: REST, WebSocket and the page."""
