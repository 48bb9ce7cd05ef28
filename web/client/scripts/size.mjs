// How large the client is, minified and gzipped: what a page loads to make one, and what comes later, when it is needed.
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

export async function sizes(entry = "index") {
  const { outputFiles, metafile } = await build({
    entryPoints: [`dist/${entry}.js`], bundle: true, splitting: true, outdir: "out", minify: true, format: "esm", target: "es2022", write: false, metafile: true,
  });
  const of = new Map(outputFiles.map(f => [f.path.split("/").pop(), gzipSync(f.contents, { level: 9 }).length]));
  const size = path => of.get(path.split("/").pop());
  const first = new Set();
  const visit = path => {
    if (first.has(path)) return;
    first.add(path);
    for (const { path: to, kind } of metafile.outputs[path].imports) if (kind === "import-statement") visit(to);
  };
  visit(`out/${entry}.js`);
  const sum = paths => paths.reduce((n, p) => n + size(p), 0);
  return { first: sum([...first]), later: sum(Object.keys(metafile.outputs).filter(p => !first.has(p))) };
}
