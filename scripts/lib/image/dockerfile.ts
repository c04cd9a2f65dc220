/** The last stage of a Dockerfile. */
export interface ImageSpec {
  readonly base: string;
  readonly entrypoint: readonly string[];
  readonly workdir: string;
  /** As written, `uid:gid`. */
  readonly user: string;
  readonly ports: readonly number[];
  /** Paths that are copied into the image. */
  readonly copied: readonly string[];
}

/**
 * Reads the last stage of a Dockerfile. It understands only what this project's Dockerfile needs: one instruction per
 * line, `\` continues it, the entry point in JSON form. Throws if an instruction is missing or unknown, so that none is
 * overlooked.
 */
export function parseImageSpec(dockerfile: string): ImageSpec {
  const instructions = dockerfile
    .replaceAll(/^\s*#.*\n/gm, "")
    .replaceAll(/\\\n/g, " ")
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "");
  const lastStage = instructions.slice(instructions.findLastIndex((line) => /^FROM\s/i.test(line)));
  const found: Record<string, string[]> = {
    FROM: [],
    LABEL: [],
    COPY: [],
    WORKDIR: [],
    EXPOSE: [],
    USER: [],
    ENTRYPOINT: [],
  };
  for (const line of lastStage) {
    const [name = "", ...rest] = line.split(/\s+/);
    const values = found[name.toUpperCase()];
    if (values === undefined) throw new Error(`Cannot read the Dockerfile: unknown instruction ${line}`);
    values.push(rest.join(" "));
  }
  const take = (name: string) => {
    const value = found[name]?.at(-1);
    if (value === undefined) throw new Error(`Cannot read the Dockerfile: the last stage has no ${name}`);
    return value;
  };
  return {
    base: take("FROM"),
    entrypoint: parseJsonStrings(take("ENTRYPOINT")),
    workdir: take("WORKDIR"),
    user: take("USER"),
    ports: take("EXPOSE").split(" ").map(Number),
    copied: (found["COPY"] ?? []).map((copy) => copy.split(" ").at(-1) ?? ""),
  };
}

function parseJsonStrings(text: string): string[] {
  const value: unknown = JSON.parse(text);
  if (!Array.isArray(value)) throw new Error(`Cannot read the Dockerfile: no list: ${text}`);
  return value.map(String);
}
