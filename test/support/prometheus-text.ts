/** One sample of a scrape. */
export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

const NAME = "[a-zA-Z_:][a-zA-Z0-9_:]*";
const LABEL = String.raw`[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"`;
const SAMPLE = new RegExp(String.raw`^(${NAME})(?:\{(${LABEL}(?:,${LABEL})*)\})? (\+Inf|-Inf|NaN|[-+0-9.e]+)$`);
const SUFFIXES = { histogram: ["_bucket", "_sum", "_count"], counter: [""], gauge: [""] } as const;

/**
 * Parses Prometheus' text form 0.0.4 and checks what a scraper or a linter would: every sample belongs to the `# TYPE` above it, no
 * family or series twice, counters end in `_total` and are not negative, buckets are cumulative and end with `+Inf` = count.
 */
export function parsePrometheusText(text: string): readonly Sample[] {
  if (!text.endsWith("\n")) throw new Error("the last line has no line feed");
  const samples: Sample[] = [];
  const series = new Set<string>();
  const families = new Map<string, keyof typeof SUFFIXES>();
  let family = "";
  for (const line of text.slice(0, -1).split("\n")) {
    if (/^# (HELP|UNIT) [a-zA-Z_:][a-zA-Z0-9_:]* \S/.test(line)) continue;
    const type = /^# TYPE (\S+) (counter|gauge|histogram)$/.exec(line);
    if (type !== null) {
      family = type[1] ?? "";
      if (families.has(family)) throw new Error(`family twice: ${family}`);
      families.set(family, type[2] === "histogram" ? "histogram" : type[2] === "counter" ? "counter" : "gauge");
      continue;
    }
    const sample = parseSample(line);
    const kind = families.get(family);
    if (kind === undefined) throw new Error(`sample before its type: ${line}`);
    if (!SUFFIXES[kind].some((suffix) => sample.name === family + suffix)) throw new Error(`not of ${family}: ${line}`);
    if (kind === "counter" && (!family.endsWith("_total") || sample.value < 0)) throw new Error(`no counter: ${line}`);
    const key = `${sample.name} ${keyOf(sample.labels)}`;
    if (series.has(key)) throw new Error(`series twice: ${line}`);
    series.add(key);
    samples.push(sample);
  }
  for (const [name, kind] of families) if (kind === "histogram") checkHistogram(name, samples);
  return samples;
}

function parseSample(line: string): Sample {
  const [whole, name = "", labels = "", value = ""] = SAMPLE.exec(line) ?? [];
  if (whole === undefined) throw new Error(`no sample: ${line}`);
  const pairs: Record<string, string> = {};
  for (const [, key = "", text = ""] of labels.matchAll(/([a-zA-Z0-9_]+)="((?:[^"\\]|\\.)*)"/g)) pairs[key] = text;
  return { name, labels: pairs, value: value.endsWith("Inf") ? Number.POSITIVE_INFINITY : Number(value) };
}

/** The same key for the same labels in any order. */
function keyOf(labels: Readonly<Record<string, string>>): string {
  return JSON.stringify(Object.entries(labels).toSorted(([one], [other]) => (one < other ? -1 : 1)));
}

function checkHistogram(name: string, samples: readonly Sample[]): void {
  const seriesOf = ({ labels: { le: _le, ...rest } }: Sample) => keyOf(rest);
  for (const count of samples.filter((sample) => sample.name === `${name}_count`)) {
    const buckets = samples.filter(
      (sample) => sample.name === `${name}_bucket` && seriesOf(sample) === seriesOf(count),
    );
    let previous = { le: Number.NEGATIVE_INFINITY, value: 0 };
    for (const { labels, value } of buckets) {
      const le = labels["le"] === "+Inf" ? Number.POSITIVE_INFINITY : Number(labels["le"]);
      if (!(le > previous.le) || value < previous.value) throw new Error(`buckets of ${name} are not cumulative`);
      previous = { le, value };
    }
    if (previous.le !== Number.POSITIVE_INFINITY || previous.value !== count.value) {
      throw new Error(`+Inf of ${name} is not its count`);
    }
  }
}
