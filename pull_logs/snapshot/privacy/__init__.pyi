from .audit import Audit as Audit
from .audit import audit_bundle as audit_bundle
from .audit import markers_in as markers_in
from .patterns import KINDS as KINDS
from .patterns import SECRETS as SECRETS
from .redact import Redaction as Redaction
from .redact import redact_bundle as redact_bundle
from .scrubber import Finding as Finding
