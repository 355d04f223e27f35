"""Kafka's own command-line tools."""

from darkroom_cli.provision import provide


def java_tool(name: str, *options: str) -> list[str]:
    """Command line of `kafka.tools.NAME`, such as ConsoleConsumer."""
    tools = provide(lambda _line: None)
    package = "org.apache.kafka.tools.consumer" if "Consumer" in name else "org.apache.kafka.tools"
    jars = f"{tools.kafka_jars}/*"
    return [str(tools.java), "-XX:TieredStopAtLevel=1", "-cp", jars, f"{package}.{name}", *options]
