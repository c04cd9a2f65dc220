import { FLAGS, type FlagChoice, type FlagName, type FlagNameOf, type FlagSpec } from "./flags.ts";
import { faultTextOf } from "./text.ts";
import { formatDuration, formatSize, parseBoolean, parseDurationMs, parseInteger, parseSizeBytes } from "./values.ts";
import { quote } from "../log/quote.ts";

/**
 * Converts the texts of flags to their declared types. A fault is added to `faults` and the flag's default is used, so
 * that reading continues and finds every fault.
 */
export class FlagReader {
  readonly faults: string[] = [];
  readonly #texts: ReadonlyMap<FlagName, string>;

  /** @param texts The flags on the command line. A missing flag has its default. */
  constructor(texts: ReadonlyMap<FlagName, string>) {
    this.#texts = texts;
  }

  /** Whether the flag is on the command line, with any value. */
  isGiven(name: FlagName): boolean {
    return this.#texts.has(name);
  }

  text(name: FlagNameOf<"string">): string {
    return this.#texts.get(name) ?? specOf(name).default;
  }

  /** Like `text`, but undefined for an empty value: charts pass `--flag=` for unset values. */
  optionalText(name: FlagNameOf<"string">): string | undefined {
    const text = this.text(name);
    return text === "" ? undefined : text;
  }

  bool(name: FlagNameOf<"bool">): boolean {
    return this.parse(name, parseBoolean);
  }

  int(name: FlagNameOf<"int">): number {
    return this.parse(name, (text, spec) => checkRange(parseInteger(text), spec, String));
  }

  /** Milliseconds. */
  duration(name: FlagNameOf<"duration">): number {
    return this.parse(name, (text, spec) => checkRange(parseDurationMs(text), spec, formatDuration));
  }

  /** Bytes. */
  size(name: FlagNameOf<"size">): number {
    return this.parse(name, parseSize);
  }

  /** Like `size`, but undefined for an empty value. */
  optionalSize(name: FlagNameOf<"size">): number | undefined {
    return this.parse(name, (text, spec) => (text === "" ? undefined : parseSize(text, spec)));
  }

  choice<N extends FlagNameOf<"choice">>(name: N): FlagChoice<N> {
    return this.parse(name, (text, spec) => {
      if (isChoice<N>(text, spec)) return text;
      throw new Error(spec.refused?.[text] ?? `expected ${spec.choices?.join(", ")}`);
    });
  }

  /** Parses any flag. `parse` throws an Error whose message does not repeat the text. */
  parse<T>(name: FlagName, parse: (text: string, spec: FlagSpec) => T): T {
    const spec = specOf(name);
    try {
      const text = this.#texts.get(name);
      if (text !== undefined) return parse(text, spec);
    } catch (error) {
      this.fault(name, faultTextOf(error));
    }
    return parse(spec.default, spec);
  }

  /** Adds a fault. It repeats the flag's text unless that is secret. */
  fault(name: FlagName, message: string): void {
    const text = this.#texts.get(name);
    const shown = text === undefined || specOf(name).secret === true ? "" : ` ${quote(text)}`;
    this.faults.push(`--${name}${shown}: ${message}`);
  }
}

function specOf(name: FlagName): FlagSpec {
  const spec = FLAGS.find((flag) => flag.name === name);
  if (spec === undefined) throw new Error(`Cannot find flag "${name}" in the table`);
  return spec;
}

function isChoice<N extends FlagNameOf<"choice">>(text: string, spec: FlagSpec): text is FlagChoice<N> {
  return spec.choices?.includes(text) === true;
}

function parseSize(text: string, spec: FlagSpec): number {
  return checkRange(parseSizeBytes(text), spec, formatSize);
}

function checkRange(value: number, spec: FlagSpec, format: (value: number) => string): number {
  const { min = 0, max = Number.MAX_SAFE_INTEGER } = spec;
  if (value >= min && value <= max) return value;
  throw new Error(
    max === Number.MAX_SAFE_INTEGER
      ? `must be at least ${format(min)}`
      : `must be between ${format(min)} and ${format(max)}`,
  );
}
