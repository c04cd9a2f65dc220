/** A word that only a programmer chooses: `ECONNRESET`, `Malformed_HTTP_Response`, `TypeError`. */
const WORD = /^[A-Za-z][A-Za-z0-9_]{0,63}$/;

/** A line of a stack in this program: `at name (file:line:column)`, without a query or a host. */
const FRAME = /^\s*at (?:async )?[\w$.<>[\] #]{0,100}\(?[\w@$./-]{1,200}:\d+:\d+\)?$/;

/** Names a thrown value in one word without outside text: an error's code, else its name; else the type. */
export function nameFault(thrown: unknown): string {
  if (!(thrown instanceof Error)) return typeof thrown;
  if ("code" in thrown && typeof thrown.code === "string" && WORD.test(thrown.code)) return thrown.code;
  return WORD.test(thrown.name) ? thrown.name : "Error";
}

/** Where it was thrown: at most `max` lines of its stack, innermost first. Never a part of the message. */
export function listPlaces(thrown: unknown, max: number): readonly string[] {
  if (!(thrown instanceof Error)) return [];
  const { message, stack = "" } = thrown;
  // The message comes before the places, and may contain lines that look like them.
  const places = message === "" ? stack : stack.slice(stack.indexOf(message) + message.length);
  return places
    .split("\n")
    .filter((line) => FRAME.test(line))
    .slice(0, max)
    .map((line) => line.trim());
}
