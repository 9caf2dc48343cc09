"""The protobuf messages of exposure key exports, their descriptors made from the published field numbers.

Source: Google, *Exposure Key File Format*; Apple, *Setting Up a Key Server*. A descriptor pool of their own keeps them
from meeting another library's messages of the same name.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    EnumValueDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from privacy.tokens.gaen import DAY_INTERVALS, ReportType

PACKAGE = "jaga.exposure"


def _field(number: int, name: str, kind: str, *, many: bool = False, default: str | None = None) -> Any:
    """One field; a `kind` with a dot in front is another message or enumeration of this file."""
    field = FieldDescriptorProto(name=name, number=number, default_value=default)
    field.label = FieldDescriptorProto.LABEL_REPEATED if many else FieldDescriptorProto.LABEL_OPTIONAL
    if kind.startswith("."):
        field.type_name = f".{PACKAGE}{kind}"
        of_enum = kind == ".ReportType"
        field.type = FieldDescriptorProto.TYPE_ENUM if of_enum else FieldDescriptorProto.TYPE_MESSAGE
    else:
        field.type = FieldDescriptorProto.Type.Value(f"TYPE_{kind.upper()}")
    return field


def _pool() -> Any:
    signature_info = (
        _field(1, "app_bundle_id", "string"),
        _field(2, "android_package", "string"),
        _field(3, "verification_key_version", "string"),
        _field(4, "verification_key_id", "string"),
        _field(5, "signature_algorithm", "string"),
    )
    key = (
        _field(1, "key_data", "bytes"),
        _field(2, "transmission_risk_level", "int32"),
        _field(3, "rolling_start_interval_number", "int32"),
        _field(4, "rolling_period", "int32", default=str(DAY_INTERVALS)),
        _field(5, "report_type", ".ReportType"),
        _field(6, "days_since_onset_of_symptoms", "sint32"),
    )
    export = (
        _field(1, "start_timestamp", "fixed64"),
        _field(2, "end_timestamp", "fixed64"),
        _field(3, "region", "string"),
        _field(4, "batch_num", "int32"),
        _field(5, "batch_size", "int32"),
        _field(6, "signature_infos", ".SignatureInfo", many=True),
        _field(7, "keys", ".TemporaryExposureKey", many=True),
        _field(8, "revised_keys", ".TemporaryExposureKey", many=True),
    )
    signature = (
        _field(1, "signature_info", ".SignatureInfo"),
        _field(2, "batch_num", "int32"),
        _field(3, "batch_size", "int32"),
        _field(4, "signature", "bytes"),
    )
    messages = {
        "SignatureInfo": signature_info,
        "TemporaryExposureKey": key,
        "TemporaryExposureKeyExport": export,
        "TEKSignature": signature,
        "TEKSignatureList": (_field(1, "signatures", ".TEKSignature", many=True),),
    }
    values = [EnumValueDescriptorProto(name=kind.name, number=kind.value) for kind in ReportType]
    pool = DescriptorPool()
    pool.Add(
        FileDescriptorProto(
            name="jaga/exposure.proto",
            package=PACKAGE,
            syntax="proto2",
            message_type=[DescriptorProto(name=name, field=fields) for name, fields in messages.items()],
            enum_type=[EnumDescriptorProto(name="ReportType", value=values)],
        )
    )
    return pool


_POOL = _pool()
ExportMessage: Any = GetMessageClass(_POOL.FindMessageTypeByName(f"{PACKAGE}.TemporaryExposureKeyExport"))
SignaturesMessage: Any = GetMessageClass(_POOL.FindMessageTypeByName(f"{PACKAGE}.TEKSignatureList"))
