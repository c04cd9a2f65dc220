import type { Status } from "../status.ts";
import { Chart } from "./chart.tsx";
import { formatBytes, formatCount, formatDelay, formatRate, formatSpan } from "./format.ts";
import type { ComponentChildren } from "./ui.ts";

/** The numbers at the top. */
export function Overview({ status }: { readonly status: Status }) {
  const { traffic, memory, eventLoop, sandboxes, descriptors, redis, access, checks } = status;
  const known = (sandboxes.ready ?? 0) + (sandboxes.notReady ?? 0) + (sandboxes.ambiguous ?? 0);
  const window = formatSpan(Math.max(traffic.windowMs, 1_000));
  const failing = checks.filter(({ ok }) => !ok);
  return (
    <section aria-label="Overview" class="tiles">
      <Tile id="requests" title="Requests a second" value={formatRate(traffic.requestsPerSecond)} isWide>
        <Chart history={traffic.history} />
        <Line>
          {formatRate(traffic.failedPerSecond)} failed a second · {formatCount(traffic.requests)} in all
        </Line>
      </Tile>
      <Tile id="latency" title="Duration, p50" value={formatDelay(traffic.p50Ms)}>
        <Line>p99 {formatDelay(traffic.p99Ms)}</Line>
        <Line>of the last {window}</Line>
      </Tile>
      <Tile id="open" title="Open" value={formatCount(traffic.open)}>
        <Line>{formatCount(traffic.tunnels)} tunnels (WebSockets)</Line>
      </Tile>
      <Tile id="memory" title="Memory account" value={formatBytes(memory.heldBytes)}>
        <Meter label="Memory account" used={memory.heldBytes} limit={memory.budgetBytes} />
        <Line>of {formatBytes(memory.budgetBytes)}</Line>
        <Line>
          process {formatBytes(memory.residentBytes)} of {formatBytes(memory.limitBytes)}
        </Line>
      </Tile>
      <Tile id="event-loop" title="Event-loop delay, p50" value={formatDelay(eventLoop.p50Ms)}>
        <Line>p99 {formatDelay(eventLoop.p99Ms)}</Line>
      </Tile>
      <Tile id="table" title="Sandboxes" value={formatCount(known)}>
        <Line>
          {formatCount(sandboxes.ready)} ready · {formatCount(sandboxes.notReady)} not ready
          {sandboxes.ambiguous ? ` · ${formatCount(sandboxes.ambiguous)} ambiguous` : ""}
        </Line>
        <Line>{describeAge(sandboxes)}</Line>
      </Tile>
      <Tile id="descriptors" title="File descriptors" value={formatCount(descriptors?.open)}>
        <Meter label="File descriptors" used={descriptors?.open} limit={descriptors?.limit} />
        <Line>of {formatCount(descriptors?.limit)}</Line>
      </Tile>
      <Tile id="redis" title="Redis" value={describeRedis(redis)}>
        {redis === undefined ? (
          <Line>renew intents are not enabled</Line>
        ) : (
          <Line>
            {formatCount(redis.published)} intents sent · {formatCount(redis.queued)} waiting ·{" "}
            {formatCount(redis.dropped)} dropped
          </Line>
        )}
      </Tile>
      <Tile id="drain" title="State" value={status.phase}>
        <Line>
          {failing.length === 0 ? "all checks pass" : `failing: ${failing.map(({ name }) => name).join(", ")}`}
        </Line>
        <Line>{formatCount(access?.failures)} wrong signatures</Line>
      </Tile>
    </section>
  );
}

function Tile(props: {
  readonly id: string;
  readonly title: string;
  readonly value: string;
  readonly isWide?: boolean;
  readonly children: ComponentChildren;
}) {
  return (
    <section id={`tile-${props.id}`} class={props.isWide === true ? "tile wide" : "tile"}>
      <h2>{props.title}</h2>
      <p class="value">{props.value}</p>
      {props.children}
    </section>
  );
}

function Line({ children }: { readonly children: ComponentChildren }) {
  return <p class="line">{children}</p>;
}

function Meter(props: {
  readonly label: string;
  readonly used: number | undefined;
  readonly limit: number | undefined;
}) {
  const { label, used, limit } = props;
  if (used === undefined || limit === undefined || limit <= 0) return null;
  return <meter aria-label={label} min={0} max={limit} high={limit * 0.7} value={used} />;
}

function describeAge({ synced, ageMs }: Status["sandboxes"]): string {
  if (synced === false) return "the first list is not complete";
  if (ageMs === undefined) return "";
  return ageMs < 1_000 ? "table up to date" : `table ${formatSpan(ageMs)} old`;
}

function describeRedis(redis: Status["redis"]): string {
  if (redis === undefined) return "off";
  if (redis.healthy) return "healthy";
  return redis.failed === 0 ? "not used yet" : "failing";
}
