import type { ExplainAnswer } from "../explain-page.ts";
import { type Asked, ask } from "./ask.ts";
import { type RefObject, useEffect, useRef, useState } from "./ui.ts";

const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] as const;

const OUTCOMES = { ok: "ok", waits: "waits", refused: "refused", unknown: "not known" } as const;

interface Question {
  readonly target: string;
  readonly method: string;
  /** As they are typed. */
  readonly headers: string;
}

/** A box that asks what would happen to a request. The question goes to the ingress in a body, never in a URL. */
export function Explain({ asked }: { readonly asked: { readonly route: string; readonly times: number } }) {
  const [question, setQuestion] = useState<Question>({ target: "", method: "GET", headers: "" });
  const [result, setResult] = useState<Asked<ExplainAnswer> | undefined>(undefined);
  const sending = useRef(new AbortController());
  const box = useRef<HTMLInputElement>(null);
  useEffect(() => {
    if (asked.times === 0) return;
    setQuestion((before) => ({ ...before, target: asked.route }));
    setResult(undefined);
    box.current?.focus();
    box.current?.scrollIntoView({ block: "center" });
  }, [asked]);
  const send = async (): Promise<void> => {
    sending.current.abort();
    const { signal } = (sending.current = new AbortController());
    const { target, method, headers } = question;
    const parsed = parseHeaders(headers);
    if (parsed === undefined) return setResult({ kind: "fault", text: "Each header is a line: name, colon, value." });
    const answer = await ask<ExplainAnswer>("/debug/explain", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ [target.includes("/") ? "url" : "route"]: target, method, headers: parsed }),
      signal,
    });
    if (!signal.aborted) setResult(answer);
  };
  return (
    <section class="card" aria-labelledby="explain-title">
      <h2 id="explain-title">Explain a request</h2>
      <ExplainForm
        question={question}
        onChange={(part) => setQuestion({ ...question, ...part })}
        onSend={send}
        box={box}
      />
      <div role="status" id="explanation">
        {result === undefined ? null : <Explanation result={result} />}
      </div>
    </section>
  );
}

function ExplainForm(props: {
  readonly question: Question;
  readonly onChange: (part: Partial<Question>) => void;
  readonly onSend: () => Promise<void>;
  readonly box: RefObject<HTMLInputElement | null>;
}) {
  const { question, onChange, onSend, box } = props;
  return (
    <form
      class="controls"
      onSubmit={(event) => {
        event.preventDefault();
        void onSend();
      }}
    >
      <label class="grow">
        URL or route
        <input
          id="explain-target"
          ref={box}
          type="text"
          required
          autoComplete="off"
          spellcheck={false}
          placeholder="https://my-sandbox-8080.example.com/ or my-sandbox-8080"
          value={question.target}
          onInput={({ currentTarget }) => onChange({ target: currentTarget.value })}
        />
      </label>
      <label>
        Method
        <select value={question.method} onChange={({ currentTarget }) => onChange({ method: currentTarget.value })}>
          {METHODS.map((name) => (
            <option key={name}>{name}</option>
          ))}
        </select>
      </label>
      <label class="full">
        Headers, one on each line
        <textarea
          id="explain-headers"
          rows={2}
          autoComplete="off"
          spellcheck={false}
          placeholder="OpenSandbox-Secure-Access: …"
          value={question.headers}
          onInput={({ currentTarget }) => onChange({ headers: currentTarget.value })}
        />
      </label>
      <button type="submit" id="explain-send">
        Explain
      </button>
    </form>
  );
}

function Explanation({ result }: { readonly result: Asked<ExplainAnswer> }) {
  if (result.kind === "fault") return <p class="fault">{result.text}</p>;
  const { forwarded, status, code, steps, wait } = result.value;
  const passed = wait === undefined ? "forwarded" : "waits";
  const refused = code === undefined ? "would be answered by the ingress itself" : `would be refused: ${code}`;
  return (
    <>
      <p>
        <span class={`badge ${forwarded ? "good" : "bad"}`}>{forwarded ? passed : (status ?? "refused")}</span> The
        request {forwarded ? (wait?.text ?? "would be forwarded") : refused}.
      </p>
      <ol class="steps">
        {steps.map(({ name, outcome, text }) => (
          <li key={name} class={outcome}>
            <strong>{name}</strong> <span class="outcome">{OUTCOMES[outcome]}</span> <span>{text}</span>
          </li>
        ))}
      </ol>
    </>
  );
}

/** Undefined: a line has no colon. */
function parseHeaders(text: string): Readonly<Record<string, readonly string[]>> | undefined {
  const headers = new Map<string, string[]>();
  for (const line of text.split("\n")) {
    if (line.trim() === "") continue;
    const colon = line.indexOf(":");
    if (colon < 1) return undefined;
    const name = line.slice(0, colon).trim();
    headers.set(name, [...(headers.get(name) ?? []), line.slice(colon + 1).trim()]);
  }
  return Object.fromEntries(headers);
}
