import type { ReflectorStore } from "./reflector-store.ts";
import type { KubeObject } from "./resource.ts";

/** One replacement of a store's content. It ends once, by `commit` or `abort`. */
export interface StoreFilling {
  add(object: KubeObject): void;
  remove(object: KubeObject): void;
  /** Returns the number of added objects. */
  commit(): number;
  /** Harmless after `commit`. */
  abort(): void;
}

export function beginFilling(store: ReflectorStore): StoreFilling {
  const replacement = store.beginReplace();
  let count = 0;
  let isOpen = true;
  return {
    add(object) {
      count += 1;
      replacement.add(object);
    },
    remove: (object) => replacement.remove(object),
    commit() {
      isOpen = false;
      replacement.commit();
      return count;
    },
    abort() {
      if (isOpen) replacement.abort();
      isOpen = false;
    },
  };
}
