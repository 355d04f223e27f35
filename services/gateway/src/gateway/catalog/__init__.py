"""The catalog: plain SQL by purpose.

`submissions` photos handed in · `imports` folders · `outbox` events to publish · `results` what
the services found · `read` what people ask for.
"""
