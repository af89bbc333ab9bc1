//! The look of the pages, and the few lines that keep them fresh. Pure.

/// Light and dark by the reader's preference; no font, image or script from elsewhere.
pub(super) const STYLE: &str = r#"
:root{--bg:#f6f7f9;--card:#fff;--ink:#1a2230;--soft:#5c6a7e;--line:#e2e6ec;--accent:#0f766e;--run:#1d4ed8;--good:#15803d;
--bad:#b91c1c;--warn:#b45309;--calm:#64748b;--tint:14%}
@media (prefers-color-scheme:dark){:root{--bg:#0e131a;--card:#161d27;--ink:#e5eaf1;--soft:#93a1b5;--line:#273140;
--accent:#2dd4bf;--run:#7ba7ff;--good:#4ade80;--bad:#f87171;--warn:#fbbf24;--calm:#94a3b8;--tint:20%}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;
font-variant-numeric:tabular-nums}
header{display:flex;align-items:center;gap:.9rem;flex-wrap:wrap;padding:.9rem 1.6rem;background:var(--card);border-bottom:1px solid var(--line)}
header .mark{width:1.6rem;height:1.6rem;flex:none;color:var(--accent)}
header h1{font-size:1.05rem;margin:0;font-weight:650}
header a{color:inherit;text-decoration:none}
header .at{margin-left:auto;color:var(--soft);font-size:.86rem}
main{max-width:1240px;margin:0 auto;padding:1.4rem 1.6rem 3rem}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:.8rem;margin-bottom:1.2rem}
.tile,section{background:var(--card);border:1px solid var(--line);border-radius:12px}
.tile{padding:.8rem 1rem}
.tile b{display:block;font-size:1.45rem;font-weight:650;line-height:1.3}
.tile span{color:var(--soft);font-size:.84rem}
section{margin-bottom:1.1rem;padding:1rem 1.2rem 1.1rem}
h2{font-size:.98rem;margin:0 0 .6rem;font-weight:650}
h2 small{color:var(--soft);font-weight:400;margin-left:.4rem}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.9rem}
th{text-align:left;color:var(--soft);font-weight:500;font-size:.8rem;padding:.3rem .8rem .3rem 0;border-bottom:1px solid var(--line);white-space:nowrap}
td{padding:.5rem .8rem .5rem 0;border-bottom:1px solid var(--line);vertical-align:top}
tbody tr:last-child td{border-bottom:0}
tbody tr:hover td{background:color-mix(in srgb,var(--accent) 5%,transparent)}
a{color:var(--accent);text-decoration:none}
a:hover{text-decoration:underline}
.soft,.empty{color:var(--soft)}
.empty{margin:.2rem 0}
.mono,code,pre{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;font-size:.84rem}
.nowrap{white-space:nowrap}
.badge{--c:var(--calm);display:inline-block;padding:.08rem .55rem;border-radius:99px;font-size:.74rem;font-weight:650;letter-spacing:.02em;
color:var(--c);background:color-mix(in srgb,var(--c) var(--tint),transparent)}
.badge.run{--c:var(--run)}.badge.good{--c:var(--good)}.badge.bad{--c:var(--bad)}.badge.warn{--c:var(--warn)}
.meter{display:inline-flex;align-items:center;gap:.6rem;white-space:nowrap}
.bar{width:84px;height:7px;border-radius:9px;background:var(--line);overflow:hidden;display:inline-block}
.fill{display:block;height:100%;background:var(--accent);border-radius:9px}
dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(230px,1fr));gap:.7rem 1.4rem;margin:0}
dt{color:var(--soft);font-size:.8rem}
dd{margin:0;overflow-wrap:anywhere}
.failure{border-left:4px solid var(--bad);background:color-mix(in srgb,var(--bad) 8%,transparent);border-radius:0 8px 8px 0;padding:.6rem .9rem;margin:.2rem 0}
.failure pre{white-space:pre-wrap;overflow-wrap:anywhere;margin:.3rem 0 0}
.stage{color:var(--soft);font-size:.82rem;margin-top:.2rem}
"#;

/// Fetches the page again and replaces what is shown; stands still while it is not looked at or text is selected.
pub(super) const REFRESH: &str = r#"
setInterval(async()=>{if(document.hidden||String(getSelection()))return;
try{const r=await fetch(location.href);if(!r.ok)return;
const d=new DOMParser().parseFromString(await r.text(),"text/html");
for(const s of["main","header .at"]){const o=document.querySelector(s),n=d.querySelector(s);if(o&&n)o.replaceWith(n)}}
catch{const a=document.querySelector("header .at");if(a)a.textContent="the master does not answer"}},2000);
"#;

/// Three layers of water.
pub(super) const MARK: &str = r#"<svg class="mark" viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2.2" stroke-linecap="round" aria-hidden="true"><path d="M2 7c3.3-3 6.7 3 10 0s6.7-3 10 0M2 12.500c3.300-3 6.700 3 10 0s6.700-3 10 0M2 18c3.300-3 6.700 3 10 0s6.700-3 10 0"/></svg>"#;
