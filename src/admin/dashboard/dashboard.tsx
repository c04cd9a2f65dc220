import type { Status } from "../status.ts";
import { Counts } from "./counts.tsx";
import { Explain } from "./explain.tsx";
import { Failures } from "./failures.tsx";
import { formatSpan } from "./format.ts";
import { Overview } from "./overview.tsx";
import { usePoll } from "./poll.ts";
import { listProblems } from "./problems.ts";
import { Sandboxes } from "./sandboxes.tsx";
import { useCallback, useEffect, useErrorBoundary, useState } from "./ui.ts";

/** The counters are noted once a second. */
const STATUS_INTERVAL_MS = 1_000;

/**
 * The page. If it cannot show something, such as an answer of another build, it shows a message instead of an empty
 * page.
 */
export function Dashboard() {
  const thrown: unknown = useErrorBoundary()[0];
  if (thrown === undefined) return <Content />;
  return (
    <main>
      <h1>OpenSandbox Ingress</h1>
      <p role="alert" class="fault">
        The page cannot show what the ingress answers. Load it again; it may be of another version.
      </p>
    </main>
  );
}

function Content() {
  const { value: status, fault } = usePoll<Status>("/debug/status", STATUS_INTERVAL_MS);
  const [asked, setAsked] = useState({ route: "", times: 0 });
  const explain = useCallback((route: string) => setAsked(({ times }) => ({ route, times: times + 1 })), []);
  return (
    <>
      <a class="skip" href="#sandboxes">
        Skip to the sandboxes
      </a>
      <Head status={status} />
      <main>
        <Problems status={status} fault={fault} />
        {status === undefined ? <p>Waiting for the first answer.</p> : <Overview status={status} />}
        <div class="columns">
          <Counts
            title="Statuses"
            counts={status?.traffic.statuses}
            labels={{ name: "Status", none: "No request ended yet." }}
          />
          <Counts
            title="Refusals"
            counts={status?.traffic.refusals}
            labels={{ name: "Code", none: "Nothing was refused yet." }}
          />
        </div>
        <Sandboxes now={nowOf(status)} onExplain={explain} />
        <Explain asked={asked} />
        <Failures now={nowOf(status)} />
      </main>
    </>
  );
}

/** The ingress's clock, since the operator's may differ. */
function nowOf(status: Status | undefined): number {
  return status === undefined ? Date.now() : Date.parse(status.time);
}

const PHASES: Readonly<Record<Status["phase"], { readonly text: string; readonly tone: string }>> = {
  starting: { text: "starting", tone: "warn" },
  ready: { text: "ready", tone: "good" },
  draining: { text: "draining", tone: "warn" },
  stopped: { text: "stopped", tone: "bad" },
};

function Head({ status }: { readonly status: Status | undefined }) {
  const phase = status === undefined ? undefined : PHASES[status.phase];
  return (
    <header>
      <h1>OpenSandbox Ingress</h1>
      {phase === undefined ? null : (
        <span id="phase" class={`badge ${phase.tone}`}>
          {phase.text}
        </span>
      )}
      {status === undefined ? null : (
        <p class="dim">
          {describeBuild(status)} · instance {status.instance} · {status.mode} mode · {status.provider} · up{" "}
          {formatSpan(Date.parse(status.time) - Date.parse(status.startedAt))}
        </p>
      )}
    </header>
  );
}

function describeBuild({ version, commit }: Status): string {
  return commit === "unknown" ? version : `${version} (${commit})`;
}

/** The problems in words. A screen reader reads them when they change. */
function Problems({ status, fault }: { readonly status: Status | undefined; readonly fault: string }) {
  const [firstBuild, setFirstBuild] = useState("");
  const build = status === undefined ? "" : `${status.version} ${status.commit}`;
  useEffect(() => {
    if (firstBuild === "") setFirstBuild(build);
  }, [firstBuild, build]);
  const isOld = firstBuild !== "" && build !== firstBuild;
  const problems = [
    ...(fault === "" ? [] : [`${fault} The numbers below are the last that came.`]),
    ...(isOld ? ["Another version of the ingress answers now. Load this page again."] : []),
    ...(status === undefined ? [] : listProblems(status)),
  ];
  return (
    <div role="status" id="problems">
      {problems.length === 0 ? null : (
        <ul class="problems">
          {problems.map((text) => (
            <li key={text}>{text}</li>
          ))}
        </ul>
      )}
    </div>
  );
}
