"""Two small pages that people may land on outside the app; no other page of ours is involved."""

import base64
from hashlib import sha256
from html import escape

from starlette.responses import HTMLResponse

_STYLE = "body{font:18px/1.5 system-ui,sans-serif;margin:15vh auto;max-width:32rem;padding:0 1rem}"

#: The token stands behind `#`, which browsers send to nobody; it is taken out of the address bar.
_INVITE_SCRIPT = """
const token = location.hash.slice(1), button = document.querySelector("button"),
  said = document.querySelector("[role=status]");
history.replaceState(null, "", location.pathname);
if (!token) { button.disabled = true; said.textContent = "This link is not complete."; }
button.onclick = async () => {
  button.disabled = true;
  try {
    const answer = await fetch("/auth/invite", { method: "POST",
      headers: { "content-type": "application/json" }, body: JSON.stringify({ token }) });
    if (answer.ok) { location.replace("/"); return; }
    said.textContent = answer.status < 500 ? "This link was used already, or is too old."
      : "That did not work. Try again.";
    button.disabled = answer.status < 500;
  } catch { said.textContent = "That did not work. Try again."; button.disabled = false; }
};
"""


def invite_page() -> HTMLResponse:
    """Where an invitation's link leads: one button, so that no preview uses the link up."""
    body = '<p>You are invited.</p><button>Sign in</button><p role="status"></p>'
    return _page("Invitation", body, _INVITE_SCRIPT)


def refusal_page(sentence: str, status: int) -> HTMLResponse:
    """Why signing in did not work."""
    body = f'<p>{escape(sentence)}</p><p><a href="/">Back</a></p>'
    return _page("Sign-in", body, "", status)


def _page(title: str, body: str, script: str, status: int = 200) -> HTMLResponse:
    markup = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title} · Baton</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<style>{_STYLE}</style><h1>Baton</h1>{body}<script>{script}</script></html>"
    )
    policy = (
        f"default-src 'none'; style-src '{_digest(_STYLE)}'; script-src '{_digest(script)}'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    headers = {
        "content-security-policy": policy,
        "referrer-policy": "no-referrer",
        "cache-control": "no-store",
    }
    return HTMLResponse(markup, status, headers)


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(sha256(text.encode()).digest()).decode()
