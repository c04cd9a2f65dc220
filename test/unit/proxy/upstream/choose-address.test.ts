import { expect, test } from "bun:test";
import type { NameAnswer } from "../../../../src/proxy/upstream/dns-lookup.ts";
import { type AddressChoice, chooseAddress } from "../../../../src/proxy/upstream/choose-address.ts";

const OLD = "10.0.0.1";
const BAD = "169.254.169.254";

test.each<[what: string, inUse: string | undefined, answer: Partial<NameAnswer>, AddressChoice | string]>([
  ["the first address", undefined, { addresses: ["10.0.0.2", OLD] }, choice("10.0.0.2")],
  ["the canonical text", undefined, { addresses: ["FD00:0::7"] }, choice("fd00::7")],
  ["the address in use while answers contain it", OLD, { addresses: ["10.0.0.2", OLD] }, choice(OLD)],
  ["another when the one in use is gone", OLD, { addresses: ["10.0.0.2"] }, choice("10.0.0.2", OLD)],
  ["none that is refused", undefined, { addresses: [BAD] }, refused(undefined)],
  ["the next when the first is refused", undefined, { addresses: [BAD, OLD] }, choice(OLD)],
  ["none when only refused ones are left", OLD, { addresses: [BAD] }, refused(OLD)],
  ["nothing new without an address", OLD, { addresses: [] }, "the name has no address"],
  ["nothing new from texts that are no address", OLD, { addresses: ["", "x"] }, "the name has no address"],
  [
    "nothing new while the family of the one in use is not answered",
    OLD,
    { addresses: ["fd00::7"], unanswered: 4 },
    "the family of the address in use could not be looked up",
  ],
  [
    "another when the other family is not answered",
    OLD,
    { addresses: ["10.0.0.2"], unanswered: 6 },
    choice("10.0.0.2", OLD),
  ],
])("chooseAddress takes %s", (_, inUse, answer, expected) => {
  const judge = (address: string) => (address === BAD ? "is bad" : undefined);
  const whole: NameAnswer = { addresses: [], unanswered: undefined, ...answer };
  expect(chooseAddress(whole, { name: "sb.ns.svc", inUse, judge })).toEqual(expected);
});

function choice(address: string, gone?: string): AddressChoice {
  return { address, refusal: undefined, gone };
}

function refused(gone: string | undefined): AddressChoice {
  return { address: undefined, refusal: `sb.ns.svc leads to ${BAD}, which is bad`, gone };
}
