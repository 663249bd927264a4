"""Whether a run folder holds what was computed: digests of every file, and every number again."""

from radapt.reports.verification.run import Verification, verify_run

__all__ = ["Verification", "verify_run"]
