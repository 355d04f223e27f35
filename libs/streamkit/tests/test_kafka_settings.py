"""Settings by which brokers let a service in."""

import pytest
from pydantic import ValidationError

from streamkit.settings import KafkaSettings, WorkerSettings


def test_without_any_brokers_are_spoken_to_in_the_clear() -> None:
    settings = WorkerSettings()
    assert settings.kafka_options == {}
    assert settings.kafka_tls() is None


def test_a_password_is_proven_by_scram_over_tls() -> None:
    settings = KafkaSettings(
        kafka_security="sasl_ssl",
        kafka_user="ocr",
        kafka_password="secret",  # noqa: S106
        kafka_ca="/etc/kafka/ca.pem",
    )
    assert settings.kafka_options == {
        "security.protocol": "sasl_ssl",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "ocr",
        "sasl.password": "secret",
        "ssl.ca.location": "/etc/kafka/ca.pem",
    }


def test_a_service_can_be_known_by_its_certificate() -> None:
    settings = KafkaSettings(
        kafka_security="ssl", kafka_certificate="/tls/user.crt", kafka_key="/tls/user.key"
    )
    assert settings.kafka_options == {
        "security.protocol": "ssl",
        "ssl.certificate.location": "/tls/user.crt",
        "ssl.key.location": "/tls/user.key",
    }


@pytest.mark.parametrize(
    "slip",
    [
        {"kafka_security": "sasl_ssl"},
        {"kafka_security": "sasl_ssl", "kafka_user": "ocr"},
        {"kafka_user": "ocr", "kafka_password": "secret"},
        {"kafka_security": "ssl", "kafka_user": "ocr", "kafka_password": "secret"},
        {"kafka_security": "ssl", "kafka_certificate": "/tls/user.crt"},
        {"kafka_security": "sasl_plaintext", "kafka_user": "a", "kafka_password": "b"}
        | {"kafka_ca": "/etc/kafka/ca.pem"},
        {"kafka_ca": "/etc/kafka/ca.pem"},
        {"kafka_security": "SASL_SSL"},
    ],
)
def test_settings_that_would_be_half_a_login_are_refused(slip: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="kafka_") as refused:
        KafkaSettings.model_validate(slip)
    assert "secret" not in str(refused.value)
