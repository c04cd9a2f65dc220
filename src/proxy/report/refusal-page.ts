import { createHash } from "node:crypto";

import { answerSpecOf, type IngressError } from "../../errors.ts";
import type { Route } from "../../route/route.ts";
import { fillPort, publicCodeOf, titleOf } from "./refusal-text.ts";

/**
 * Seconds after which a page reloads itself: soon enough for a person who waits, and rarely enough for a forgotten tab.
 */
const RELOAD_SECONDS = 5;

/**
 * At most this many characters of a text from outside are shown. The page has three such texts (detail, sandbox id,
 * request id), and one character becomes at most six. So the page stays under 8 KB.
 */
const SHOWN_MAX_CHARS = 256;

const STYLE = `
:root{color-scheme:light dark;--text:#1c2330;--dim:#56607a;--back:#f4f6fa;--card:#fff;--edge:#d8deea;--mark:#a13a10}
@media(prefers-color-scheme:dark){:root{--text:#e6eaf3;--dim:#a4aec4;--back:#12161f;--card:#1b212d;--edge:#333d50;--mark:#ffab85}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;display:grid;place-items:center;padding:1rem;background:var(--back);color:var(--text);
font:1rem/1.55 system-ui,sans-serif;overflow-wrap:anywhere}
main{width:100%;max-width:38rem;padding:1.75rem;background:var(--card);border:1px solid var(--edge);border-radius:.75rem}
h1{margin:.15rem 0 1rem;font-size:1.5rem;line-height:1.25}
p{margin:.75rem 0}
.status{margin:0;color:var(--mark);font-weight:600}
.dim,dl{color:var(--dim);font-size:.9rem}
code,dd{font-family:ui-monospace,monospace;font-size:.9em}
code{padding:.1em .3em;background:var(--back);border-radius:.25em}
dl{display:grid;grid-template-columns:auto 1fr;gap:.2rem 1rem;margin:1.5rem 0 0;padding-top:1rem;border-top:1px solid var(--edge)}
dd{margin:0}
`;

const STYLE_HASH = createHash("sha256").update(STYLE).digest("base64");

/**
 * The page may only use its own style: no script, no image, no form, nothing from other hosts (CSP Level 3). Framing
 * stays allowed, since platforms show sandboxes in frames, and the page has nothing to click.
 */
export const PAGE_POLICY = `default-src 'none'; style-src 'sha256-${STYLE_HASH}'; base-uri 'none'; form-action 'none'`;

/** What the page shows besides the error. */
export interface RefusalPageOptions {
  readonly route: Route | undefined;
  readonly requestId: string;
  /** As in `RefusalOptions`. */
  readonly countsAsUse: boolean;
}

/**
 * Renders the page that tells a person what happened and what to do. All texts from outside are escaped and shortened.
 */
export function renderRefusalPage(error: IngressError, { route, requestId, countsAsUse }: RefusalPageOptions): string {
  const { status, cause, remedy, reloads, message } = answerSpecOf(error.code);
  const title = escapeHtml(titleOf(error.code, route?.port));
  const isReloading = reloads === true && !countsAsUse;
  const facts: (readonly [string, string])[] = [
    ...(route === undefined
      ? []
      : ([
          ["Sandbox", route.sandboxId],
          ["Port", String(route.port)],
        ] as const)),
    ["Code", publicCodeOf(error.code)],
    ["Request", requestId],
  ];
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="robots" content="noindex">
${isReloading ? `<meta http-equiv="refresh" content="${RELOAD_SECONDS}">\n` : ""}<title>${title}</title>
<style>${STYLE}</style>
</head>
<body>
<main>
<p class="status">${status}</p>
<h1>${title}</h1>
<p>${renderText(cause, route)}</p>
<p>${renderText(remedy, route)}</p>
${error.message === message ? "" : `<p class="dim">${escapeHtml(shorten(error.message))}</p>\n`}${
    isReloading ? `<p class="dim">This page loads itself again every ${RELOAD_SECONDS} seconds.</p>\n` : ""
  }<dl>${facts.map(([name, value]) => `<dt>${name}</dt><dd>${escapeHtml(shorten(value))}</dd>`).join("")}</dl>
</main>
</body>
</html>
`;
}

function renderText(text: string, route: Route | undefined): string {
  return escapeHtml(fillPort(text, route?.port)).replaceAll(/`([^`]+)`/g, "<code>$1</code>");
}

function shorten(text: string): string {
  return text.length <= SHOWN_MAX_CHARS ? text : `${text.slice(0, SHOWN_MAX_CHARS)}…`;
}

function escapeHtml(text: string): string {
  return text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;")
    .replaceAll("'", "&#39;");
}
