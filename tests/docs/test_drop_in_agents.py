"""docs/drop-in-agents.md names the fields of an agent without code, and its example is served."""

from pathlib import Path

from runner.drop_ins.declared import Declaration, Declared, read_declaration
from runner.drop_ins.overrides import Overrides
from tests.docs.pages import code, page, rows, section

WITHOUT_CODE = section(page("docs/drop-in-agents.md"), "## Without code")


def test_each_field_is_explained() -> None:
    shown = [code(cells[0])[0] for cells in rows(WITHOUT_CODE)]
    own = set(Declaration.model_fields) - (set(Overrides.model_fields) - {"tools"})
    assert set(shown) == own
    assert shown[:-2] == list(Declared.model_fields)


def test_the_example_is_an_agent() -> None:
    written = WITHOUT_CODE.partition("```yaml\n")[2].partition("```")[0]
    declaration, agent = read_declaration(written.encode(), "agent.yaml", Path("Desk").name)
    assert [one.name for one in agent.handoffs if hasattr(one, "name")] == ["Books"]
    assert declaration.overrides().tools == ("search_notes",)
