import { createTextBuffer } from "./text-buffer.ts";

/** Largest list without its objects, in bytes. Kind, resource version and continue token have a few hundred. */
const ENVELOPE_MAX_BYTES = 1024 * 1024;

const QUOTE = 0x22;
const COMMA = 0x2c;
const OPEN_BRACKET = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const SPACES: ReadonlySet<number> = new Set([0x20, 0x09, 0x0a, 0x0d]);
const NOTHING = new Uint8Array(0);

/**
 * Reads the JSON of a Kubernetes list as it arrives, object by object, so that the whole list is never in memory. Only
 * strings and brackets are followed byte by byte. `JSON.parse` checks each object and the envelope.
 */
export class ListDecoder {
  readonly #object;
  readonly #envelope = createTextBuffer({ maxBytes: ENVELOPE_MAX_BYTES, what: "a list without its objects" });
  /** Open brackets and braces. */
  #depth = 0;
  #inString = false;
  #isEscaped = false;
  /** Inside the list's `items` array, and inside one of its objects. */
  #inItems = false;
  #inObject = false;
  /** Bytes of the last string at the top level of the list, without its quotes. It is a key if a bracket follows. */
  #key: number[] = [];

  /** @param objectMaxBytes The longest object, in bytes. */
  constructor(objectMaxBytes: number) {
    this.#object = createTextBuffer({ maxBytes: objectMaxBytes, what: "an object" });
  }

  /**
   * Yields the objects that `chunk` completes, as parsed JSON. Throws a RangeError for an object or an envelope longer
   * than its bound, a TypeError for bytes that are not UTF-8, and a SyntaxError for invalid JSON.
   */
  *push(chunk: Uint8Array): Generator<unknown, void, undefined> {
    /** Where the unprocessed bytes of the object or envelope begin. */
    let start = 0;
    for (let at = 0; at < chunk.length; at++) {
      const byte = chunk[at] ?? 0;
      if (this.#inString) this.#followString(byte);
      else if (byte === QUOTE) this.#beginString();
      else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
        if (this.#inItems && !this.#inObject) {
          if (byte === OPEN_BRACKET) throw new SyntaxError("an item of the list is an array");
          this.#inObject = true;
          start = at;
        } else if (this.#depth === 1 && byte === OPEN_BRACKET && this.#isItemsKey()) {
          this.#inItems = true;
          this.#envelope.append(chunk.subarray(start, at + 1));
        }
        this.#depth += 1;
      } else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
        this.#depth -= 1;
        if (this.#inObject && this.#depth === 2) {
          this.#inObject = false;
          yield JSON.parse(this.#object.finish(chunk.subarray(start, at + 1)));
        } else if (this.#inItems && this.#depth === 1) {
          this.#inItems = false;
          start = at;
        }
      } else if (this.#inItems && !this.#inObject && byte !== COMMA && !SPACES.has(byte)) {
        throw new SyntaxError("an item of the list is not an object");
      }
    }
    if (this.#inObject) this.#object.append(chunk.subarray(start));
    else if (!this.#inItems) this.#envelope.append(chunk.subarray(start));
  }

  /**
   * Returns the list without its objects (`items` is empty) at its end. Throws a SyntaxError if the list is incomplete.
   */
  finish(): unknown {
    return JSON.parse(this.#envelope.finish(NOTHING));
  }

  #beginString(): void {
    if (this.#inItems && !this.#inObject) throw new SyntaxError("an item of the list is not an object");
    this.#inString = true;
    if (this.#depth === 1) this.#key = [];
  }

  #followString(byte: number): void {
    if (this.#isEscaped) this.#isEscaped = false;
    else if (byte === BACKSLASH) this.#isEscaped = true;
    else if (byte === QUOTE) {
      this.#inString = false;
      return;
    }
    // One byte more than the expected key is enough to see a difference.
    if (this.#depth === 1 && this.#key.length <= ITEMS_KEY.length) this.#key.push(byte);
  }

  #isItemsKey(): boolean {
    return this.#key.length === ITEMS_KEY.length && this.#key.every((byte, index) => byte === ITEMS_KEY[index]);
  }
}

/** Go writes this key without escapes. */
const ITEMS_KEY: readonly number[] = [...new TextEncoder().encode("items")];
