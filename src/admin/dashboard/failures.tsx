import type { FailurePage } from "../request-list.ts";
import { formatDelay, shorten, UNKNOWN } from "./format.ts";
import { usePoll } from "./poll.ts";
import { Ago, Table } from "./table.tsx";

const INTERVAL_MS = 2_000;
/** Of the hundred that the ingress keeps. */
const SHOWN_MAX = 20;
const TEXT_MAX_CHARS = 120;

/** The last failures and refusals. */
export function Failures({ now }: { readonly now: number }) {
  const { value, fault } = usePoll<FailurePage>("/debug/failures", INTERVAL_MS);
  const failures = value?.failures ?? [];
  return (
    <section class="card" aria-labelledby="failures-title">
      <h2 id="failures-title">Last failures and refusals</h2>
      {fault === "" ? null : <p class="fault">{fault}</p>}
      {failures.length === 0 ? (
        <p class="dim">Nothing failed yet.</p>
      ) : (
        <Table label="Last failures and refusals">
          <thead>
            <tr>
              {["Ago", "Sandbox", "Status", "Code", "Cause", "Client", "Took", "Request"].map((name) => (
                <th key={name} scope="col">
                  {name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody id="failures">
            {failures.slice(0, SHOWN_MAX).map((failure) => (
              <tr key={failure.requestId}>
                <td>
                  <Ago time={failure.time} now={now} />
                </td>
                <td class="name">{describeTarget(failure)}</td>
                <td>{failure.status}</td>
                <td>{failure.code ?? UNKNOWN}</td>
                <td class="text">{shorten(failure.cause ?? UNKNOWN, TEXT_MAX_CHARS)}</td>
                <td>{failure.clientAddress}</td>
                <td>{formatDelay(failure.durationMs)}</td>
                <td class="name">{failure.requestId}</td>
              </tr>
            ))}
          </tbody>
        </Table>
      )}
    </section>
  );
}

function describeTarget({ sandboxId, port }: FailurePage["failures"][number]): string {
  if (sandboxId === undefined) return UNKNOWN;
  return `${shorten(sandboxId, TEXT_MAX_CHARS)}${port === undefined ? "" : `:${port}`}`;
}
