import { parseAddress } from "../../address.ts";
import type { JudgeAddress } from "../../sandbox/projection/endpoint-rules.ts";
import type { NameAnswer } from "./dns-lookup.ts";

/** What an answer of the DNS means for a name. */
export interface AddressChoice {
  /** The address to dial from now on; undefined: none may be dialled. */
  readonly address: string | undefined;
  /** Why no address may be dialled; undefined: one may. */
  readonly refusal: string | undefined;
  /** The address that was in use and must not be dialled any more; undefined: the address is new, or stays. */
  readonly gone: string | undefined;
}

/**
 * Chooses the address of a name from an answer. The address in use stays as long as answers contain it. Returns a text
 * for the log if the answer says nothing about the name, so that what is known stays.
 *
 * @param inUse Canonical; undefined: the name has no address so far.
 */
export function chooseAddress(
  answer: NameAnswer,
  { name, inUse, judge }: { readonly name: string; readonly inUse: string | undefined; readonly judge: JudgeAddress },
): AddressChoice | string {
  const { fit, unfit } = judgeAnswer(answer, judge);
  if (fit.length + unfit.size === 0) return "the name has no address";
  const stays = inUse !== undefined && fit.includes(inUse);
  const isGone = inUse !== undefined && !stays && (unfit.has(inUse) || hasAnswered(answer, inUse));
  if (inUse !== undefined && !stays && !isGone) return "the family of the address in use could not be looked up";
  const address = stays ? inUse : fit[0];
  const [bad] = unfit;
  return {
    address,
    refusal: address === undefined && bad ? `${name} leads to ${bad[0]}, which ${bad[1]}` : undefined,
    gone: isGone ? inUse : undefined,
  };
}

/** The canonical addresses of an answer: those that may be dialled, and the others with the reason why not. */
function judgeAnswer(
  { addresses }: NameAnswer,
  judge: JudgeAddress,
): { readonly fit: readonly string[]; readonly unfit: ReadonlyMap<string, string> } {
  const fit: string[] = [];
  const unfit = new Map<string, string>();
  for (const text of addresses) {
    const address = parseAddress(text);
    if (address === undefined) continue;
    const reason = judge(address);
    if (reason === undefined) fit.push(address);
    else unfit.set(address, reason);
  }
  return { fit, unfit };
}

/** Whether an answer covers the family of an address. */
function hasAnswered({ unanswered }: NameAnswer, address: string): boolean {
  return unanswered !== (address.includes(":") ? 6 : 4);
}
