import { answerSpecOf, listErrorCodes } from "../../../src/errors.ts";
import { fillPort, publicCodeOf, titleOf } from "../../../src/proxy/report/refusal-text.ts";

/** The text of docs/errors.md: all codes that a client, the log or the metrics can show, from the table of refusals. */
export function formatErrorsDocument(): string {
  const codes = listErrorCodes();
  const publicCodes = [...new Set(codes.map(publicCodeOf))];
  const sections = publicCodes.map((publicCode) => {
    const own = codes.filter((code) => publicCodeOf(code) === publicCode);
    const [first] = own;
    if (first === undefined) throw new Error(`${publicCode} has no code`);
    const { status, message, cause, remedy, retryAfterSeconds } = answerSpecOf(first);
    const facts = [
      `- Status: ${status}${retryAfterSeconds === undefined ? "" : `, \`Retry-After: ${retryAfterSeconds}\``}`,
      `- Message: \`${message}\``,
      `- Cause: ${fillPort(cause, undefined)}`,
      `- Remedy: ${fillPort(remedy, undefined)}`,
    ];
    if (own.length > 1 || publicCode !== first) {
      facts.push(
        `- In the log and the metrics: ${own.map((code) => `\`${code}\``).join(", ")}. Clients cannot tell these apart.`,
      );
    }
    return `## ${publicCode}\n\n${titleOf(first, undefined)}.\n\n${facts.join("\n")}\n`;
  });
  return `${INTRODUCTION}\n${sections.join("\n")}`;
}

const INTRODUCTION = `# Refusals

<!-- Generated from src/errors.ts by ./scripts/docs. Do not edit. -->

The answers of the ingress when it cannot forward a request.

A refusal comes in one of three forms:

- **Plain text** is the default: \`OpenSandbox Ingress: <message>\`. Some refusals say more behind a colon.
- **Problem details** (RFC 9457) where \`Accept\` names \`application/problem+json\`, or \`application/json\` and neither
  \`text/plain\` nor \`*/*\`. The members are \`type\`, \`title\`, \`status\`, \`detail\`, \`code\`, \`sandboxId\`, \`port\`, \`requestId\` and
  \`retryAfter\`; members that do not apply are missing. \`type\`
  identifies the code; it is not the address of a document.
- **A page** for a browser that navigates with GET. It reloads itself while a sandbox is not ready.

![The page of upstream_refused](images/refusal-port.png)

![The page of sandbox_not_ready](images/refusal-not-ready.png)

![The page of sandbox_not_found, in dark](images/refusal-not-found.png)

Every form has the headers \`Proxy-Status\` (RFC 9209; \`details\` is the code), \`X-Request-Id\`, \`Cache-Control: no-store\` and
\`Vary: Accept, Sec-Fetch-Mode\`. The access log has the same request id.
`;
