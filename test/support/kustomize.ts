import { join } from "node:path";
import { ensureKubeBinaries } from "../../scripts/lib/kube/kube-binaries.ts";
import type { Json } from "../../scripts/lib/kube/kube-api-server.ts";

const ROOT = join(import.meta.dir, "../..");

/** The objects of a folder's kustomization.yaml, by kind. Throws if a kind occurs twice. */
export async function renderKustomization(folder: string): Promise<ReadonlyMap<string, Json>> {
  const { kustomize } = await ensureKubeBinaries((line) => console.error(line));
  const child = Bun.spawn([...kustomize, folder], { cwd: ROOT, stdout: "pipe", stderr: "pipe" });
  const [text, errors] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  if ((await child.exited) !== 0) throw new Error(`Cannot render ${folder}: ${errors}`);
  const objects = new Map<string, Json>();
  for (const document of text.split(/^---$/m)) {
    const object: unknown = Bun.YAML.parse(document);
    if (typeof object !== "object" || object === null) continue;
    const json: Json = Object.fromEntries(Object.entries(object));
    const kind = String(json["kind"]);
    if (objects.has(kind)) throw new Error(`Cannot tell two objects of kind ${kind} apart`);
    objects.set(kind, json);
  }
  return objects;
}

/** A value deep inside JSON, by keys and indices. */
export function dig(value: unknown, ...path: readonly (string | number)[]): unknown {
  let current: unknown = value;
  for (const key of path) {
    if (typeof current !== "object" || current === null) return undefined;
    current = Reflect.get(current, key);
  }
  return current;
}
