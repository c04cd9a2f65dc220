import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { APPS } from "../../../scripts/lib/apps/app-parts.ts";
import { isInstalled } from "../../../scripts/lib/apps/install-app.ts";
import { eventually } from "../../../scripts/lib/eventually.ts";
import { findFreePort } from "../../../scripts/lib/free-port.ts";
import { buildBinary } from "../binary.ts";
import { startBrowser, type Browser } from "../../../scripts/lib/browser/browser.ts";
import type { OpenOptions, Page } from "../../../scripts/lib/browser/page.ts";
import { requireBrowser } from "../require-browser.ts";
import { requirePart } from "../requires.ts";
import { toldPrefix, startAppStage, type AppStage, type Form, type Place, type Settings } from "./stage.ts";

/** Of one visit, in milliseconds: a person would give up long before, a busy machine needs it. */
const VISIT_MAX_MS = 150_000;
/** Until the evidence of a fault is there, in milliseconds. */
const EVIDENCE_MAX_MS = 60_000;

/** An application that runs on 127.0.0.1. */
export interface RunningApp extends AsyncDisposable {
  readonly port: number;
  /** What it wrote, for a person who looks for a fault. */
  readonly readOutput: () => string;
}

export interface AppStart {
  /** A free port of 127.0.0.1 that it has to listen on. */
  readonly port: number;
  /** Under which path it is, as it would be told by a person; empty: at the root. No slash at its end. */
  readonly basePath: string;
  /** Whether the ingress takes that path off, so that requests come without it. */
  readonly isStripped: boolean;
}

/** One use of an application, from its first page to the last effect. */
export interface Visit {
  readonly place: Place;
  /** Opens a path of the application (with `/` in front) in the browser. */
  open(path: string): Promise<Page>;
  /** Lines that a client without a browser tells; they count as evidence as the pages' events do. */
  readonly log: string[];
}

/** What happens in one form with one setting. */
export interface Row<App> {
  readonly form: Form;
  /** Default: nothing is set. */
  readonly settings?: Settings;
  /** Evidence of the fault, among the events of pages and the log; undefined: it works. */
  readonly fails?: RegExp;
  /** Default: that of the application. */
  readonly use?: (visit: Visit, app: App) => Promise<unknown>;
  /** How the table of `docs/apps.md` names that use where it works; undefined: the table does not have it. */
  readonly letter?: string;
}

export interface AppUnderTest<App extends RunningApp> {
  /** Its name in `APPS`. */
  readonly name: string;
  /** What is tried; default: the title in `APPS`. The table of `docs/apps.md` has it. */
  readonly title?: string;
  /** Its pages need what browsers give over TLS only: it is tried on names that they trust without. */
  readonly needsTls?: true;
  /** Its pages turn each address into `https:` by their policy, which is left out here, where there is no TLS. */
  readonly upgradesToTls?: true;
  start(start: AppStart): Promise<App>;
  /** Uses it as a person would; throws when something does not work. */
  use(visit: Visit, app: App): Promise<unknown>;
  readonly rows: readonly Row<App>[];
}

/** Defines the tests of an application: one for each row, in the order of the rows. */
export function tryApp<App extends RunningApp>(app: AppUnderTest<App>): void {
  const parts = APPS.find(({ name }) => name === app.name);
  if (parts === undefined) throw new Error(`${app.name} is not in the list of applications`);
  const isReady =
    requireBrowser() &&
    requirePart(parts.title, { get: `./scripts/apps --install ${app.name}`, isPresent: () => isInstalled(parts) });
  const title = app.title ?? parts.title;
  describe.skipIf(!isReady)(title, () => defineTests(app));
}

function defineTests<App extends RunningApp>(app: AppUnderTest<App>): void {
  const cleanUp = new AsyncDisposableStack();
  const running = new Map<string, Promise<App>>();
  let stage: AppStage;
  beforeAll(async () => {
    stage = cleanUp.use(await startAppStage(await buildBinary(), listSettings(app.rows)));
  }, VISIT_MAX_MS);
  afterAll(() => cleanUp.disposeAsync(), VISIT_MAX_MS);

  /**
   * The browser of a person elsewhere. On this machine a page could reach the application without the ingress, by the address that
   * the application knows itself by: Vite's page tries that when its WebSocket fails.
   */
  const browsers = new Map<boolean, Promise<Browser>>();
  const openBrowser = (isRemote: boolean): Promise<Browser> => {
    let started = browsers.get(isRemote);
    if (started === undefined) {
      started = startBrowser({ isRemote }).then((ready) => cleanUp.use(ready));
      browsers.set(isRemote, started);
    }
    return started;
  };

  /** The application as this row needs it: one for all that are at the root, one for each base path. */
  const start = ({ form, settings = {} }: Row<App>): Promise<App> => {
    const key = toldPrefix({ form, settings, port: 0 });
    let started = running.get(key);
    if (started === undefined) {
      const port = findFreePort();
      const basePath = toldPrefix({ form, settings, port });
      started = app.start({ port, basePath, isStripped: form === "told" }).then((ready) => cleanUp.use(ready));
      running.set(key, started);
    }
    return started;
  };

  test.each(app.rows.map((row) => [describeRow(row), row] as const))(
    `${app.name} %s`,
    async (_, row) => {
      const started = await start(row);
      const { form, settings = {}, fails, use = (visit, it) => app.use(visit, it) } = row;
      const place = await stage.place({ form, settings, port: started.port, isSecure: app.needsTls === true });
      await using visit = createVisit(await openBrowser(form !== "direct"), place, {
        ignoresPolicy: app.upgradesToTls === true,
      });
      try {
        if (fails === undefined) await use(visit, started);
        else await expectFault(use(visit, started), { visit, fails });
      } catch (error) {
        const logs = `\nThe application wrote:\n${started.readOutput().slice(-4_000)}\nThe ingress:\n${stage.readOutput().slice(-4_000)}`;
        throw new Error(`${error instanceof Error ? error.message : String(error)}${logs}`, { cause: error });
      }
    },
    VISIT_MAX_MS,
  );
}

/** Resolves as soon as the evidence is there, and throws when the application works all the same. */
async function expectFault(
  use: Promise<unknown>,
  { visit, fails }: { readonly visit: OpenVisit; readonly fails: RegExp },
): Promise<void> {
  let works = false;
  use.then(
    () => (works = true),
    (error: unknown) => visit.log.push(`gave up: ${String(error)}`),
  );
  const isDecided = () => works || visit.listEvidence().some((line) => fails.test(line));
  await eventually(isDecided, { maxMs: EVIDENCE_MAX_MS }).catch(() => {
    throw new Error(`no evidence of ${String(fails)} in:\n${visit.listEvidence().slice(-40).join("\n")}`);
  });
  expect(works).toBe(false);
}

interface OpenVisit extends Visit, AsyncDisposable {
  listEvidence(): readonly string[];
}

function createVisit(browser: Browser, place: Place, options: OpenOptions): OpenVisit {
  const pages: Page[] = [];
  const log: string[] = [];
  return {
    place,
    log,
    async open(path) {
      const page = await browser.open(`${place.origin}${place.prefix}${path}`, options);
      pages.push(page);
      return page;
    },
    listEvidence: () => [...log, ...pages.flatMap((page) => page.events)],
    [Symbol.asyncDispose]: async () => void (await Promise.all(pages.map((page) => page[Symbol.asyncDispose]()))),
  };
}

function listSettings(rows: readonly { readonly settings?: Settings }[]): readonly Settings[] {
  const known = new Map(rows.map(({ settings = {} }) => [JSON.stringify(settings), settings]));
  return [...known.values()];
}

const FORMS: Readonly<Record<Form, string>> = {
  direct: "without the ingress",
  host: "in the host form",
  uri: "in the URI form with strip",
  keep: "in the URI form with keep",
  told: "in the URI form with strip and its base path",
};

function describeRow({ form, settings = {}, fails, use }: Row<never>): string {
  const words = Object.entries(settings).map(([name, value]) => `${name}: ${value}`);
  const setting = form === "direct" ? "" : words.length === 0 ? " and the defaults" : ` and ${words.join(", ")}`;
  const special = use === undefined ? "" : `, ${use.name},`;
  return `${FORMS[form]}${setting}${special} ${fails === undefined ? "works" : `fails with ${String(fails)}`}`;
}
