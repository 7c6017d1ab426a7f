"""The doctor: what is wrong in this installation and does not mend itself."""

from typing import Self

from pydantic import Field

from gateway.api.routing import Admin, WithServices, api_router
from gateway.api.shapes import Shape
from gateway.doctor.examine import examine, mend
from gateway.doctor.finding import Defect, Finding

router = api_router("operations")


class Found(Shape):
    """One defect of one thing."""

    code: Defect
    subject: str = Field(description="Id of a run, a thread, an entry or an effect, or a name.")
    detail: str
    means: str
    cure: str = Field(description="What is done to mend it, or what a person has to do.")
    fixable: bool
    fixed: bool = Field(description="Whether it is gone, after it was to be mended.")

    @classmethod
    def of(cls, finding: Finding, *, fixed: bool = False) -> Self:
        """A finding as operators see it."""
        about = finding.about
        return cls(
            code=finding.defect,
            subject=finding.subject,
            detail=finding.detail,
            means=about.means,
            cure=about.cure,
            fixable=about.fixable,
            fixed=fixed,
        )


class Examination(Shape):
    """What was found; nothing means healthy."""

    findings: list[Found]


@router.get("/doctor", operation_id="examine")
async def get_findings(_: Admin, services: WithServices) -> Examination:
    """Look for what is wrong and stays so. It takes some seconds where there is something."""
    return Examination(findings=[Found.of(one) for one in await examine(services)])


@router.post("/doctor/fix", operation_id="mend")
async def fix_findings(_: Admin, services: WithServices) -> Examination:
    """Look, mend what can be mended, and look again."""
    found = await mend(services)
    return Examination(findings=[Found.of(one, fixed=fixed) for one, fixed in found])
