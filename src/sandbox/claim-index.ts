import type { SandboxRecord } from "./provider.ts";

/** One record, or several that name the same claim. An array never has fewer than two. */
type Slot = SandboxRecord | readonly SandboxRecord[];

/** Claim → the records that it adopted. Only these cost anything. */
export class ClaimIndex {
  readonly #slots = new Map<string, Slot>();

  /** In no particular order. */
  get(claim: string): readonly SandboxRecord[] {
    return toList(this.#slots.get(claim));
  }

  add(record: SandboxRecord): void {
    if (record.claim !== undefined) this.#set(record.claim, [...this.get(record.claim), record]);
  }

  /** Removes exactly this record. */
  remove(record: SandboxRecord): void {
    if (record.claim === undefined) return;
    this.#set(
      record.claim,
      this.get(record.claim).filter((other) => other !== record),
    );
  }

  #set(claim: string, records: readonly SandboxRecord[]): void {
    const [first, second] = records;
    if (first === undefined) this.#slots.delete(claim);
    else this.#slots.set(claim, second === undefined ? first : records);
  }
}

function toList(slot: Slot | undefined): readonly SandboxRecord[] {
  if (slot === undefined) return [];
  return "uid" in slot ? [slot] : slot;
}
