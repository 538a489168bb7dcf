// Builds static/dist from assets/: one stylesheet, the scripts, the icon sprite, and a manifest of their hashed names.
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { compile, optimize } from "@tailwindcss/node";
import { Scanner } from "@tailwindcss/oxide";
import { build } from "esbuild";

const assets = dirname(fileURLToPath(import.meta.url));
const root = dirname(assets);
const dist = join(root, "static", "dist");
const modules = join(root, "node_modules");
const licensed = { "htmx.org": "LICENSE", "basecoat-css": "LICENSE.md", tailwindcss: "LICENSE", "tus-js-client": "LICENSE", "lucide-static": "LICENSE" };

const manifest = {};
const built = new Map();

function keep(name, content) {
  const hash = createHash("sha256").update(content).digest("hex").slice(0, 10);
  manifest[name] = name.replace(/(\.\w+)$/, `-${hash}$1`);
  built.set(manifest[name], content);
}

/** All at once and the manifest last, so that a server reading along never sees half of a build. */
function write() {
  mkdirSync(dist, { recursive: true });
  for (const [name, content] of built) writeFileSync(join(dist, name), content);
  writeFileSync(join(dist, "manifest.json"), JSON.stringify(manifest, null, 2) + "\n");
  for (const name of readdirSync(dist)) if (!built.has(name) && name !== "manifest.json") rmSync(join(dist, name));
  for (const [name, content] of built) console.log(`${name.padEnd(34)} ${(content.length / 1024).toFixed(1)} KB`);
}

async function stylesheet() {
  const file = join(assets, "css", "app.css");
  const compiler = await compile(readFileSync(file, "utf8"), { base: dirname(file), onDependency() {} });
  const scanner = new Scanner({ sources: compiler.sources });
  const css = compiler.build(scanner.scan());
  return optimize(css, { file, minify: true }).code;
}

async function script(name) {
  const result = await build({
    entryPoints: [join(assets, "js", name)],
    bundle: true,
    minify: true,
    format: "iife",
    target: "es2022",
    write: false,
    legalComments: "none",
  });
  return result.outputFiles[0].text;
}

/** The icons that icons.json names, one <symbol> each. A test holds it against what the templates use. */
function sprite() {
  const names = JSON.parse(readFileSync(join(assets, "icons.json"), "utf8"));
  const symbols = names.map((name) => {
    const svg = readFileSync(join(modules, "lucide-static", "icons", `${name}.svg`), "utf8");
    const inner = svg.replace(/^[\s\S]*?<svg[^>]*>/, "").replace(/<\/svg>\s*$/, "").replace(/\s*\n\s*/g, "");
    return `<symbol id="${name}" viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round">${inner}</symbol>`;
  });
  const brand = readFileSync(join(assets, "brand.svg"), "utf8").trim();
  symbols.push(brand.replace("<svg xmlns=\"http://www.w3.org/2000/svg\"", "<symbol id=\"novai\"").replace("</svg>", "</symbol>"));
  return `<svg xmlns="http://www.w3.org/2000/svg">${symbols.join("")}</svg>\n`;
}

function licences() {
  return Object.entries(licensed)
    .map(([name, file]) => `==== ${name} ====\n\n${readFileSync(join(modules, name, file), "utf8").trim()}\n`)
    .join("\n");
}

keep("app.css", await stylesheet());
for (const name of readdirSync(join(assets, "js")).filter((file) => file.endsWith(".js"))) keep(name, await script(name));
keep("icons.svg", sprite());
keep("favicon.svg", readFileSync(join(assets, "favicon.svg")));
built.set("LICENSES.txt", licences());
write();
