import type { ReflectorStore } from "../../src/kube/reflector-store.ts";
import type { KubeObject } from "../../src/kube/resource.ts";

/** A store that keeps whole objects, so that a test can compare them with the server's. */
export interface RecordingStore extends ReflectorStore {
  /** `namespace/name` → object. */
  readonly objects: ReadonlyMap<string, KubeObject>;
  /** How often its whole content was replaced. */
  replacements(): number;
  /** Objects that were added to replacements. */
  added(): number;
  /** Replacements that were begun and neither committed nor aborted. */
  unfinished(): number;
}

export function createRecordingStore(): RecordingStore {
  const objects = new Map<string, KubeObject>();
  let replacements = 0;
  let unfinished = 0;
  let added = 0;
  const keyOf = ({ metadata }: KubeObject) => `${String(metadata.namespace)}/${metadata.name}`;
  return {
    objects,
    replacements: () => replacements,
    unfinished: () => unfinished,
    added: () => added,
    beginReplace() {
      const next = new Map<string, KubeObject>();
      unfinished += 1;
      return {
        add(object) {
          added += 1;
          next.set(keyOf(object), object);
        },
        remove: (object) => next.delete(keyOf(object)),
        commit() {
          objects.clear();
          for (const [key, object] of next) objects.set(key, object);
          replacements += 1;
          unfinished -= 1;
        },
        abort() {
          unfinished -= 1;
        },
      };
    },
    set: (object) => objects.set(keyOf(object), object),
    remove: (object) => objects.delete(keyOf(object)),
  };
}
