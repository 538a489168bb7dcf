(()=>{var t=document.documentElement;t.classList.add("js");try{let e=localStorage.getItem("theme");e&&(t.dataset.theme=e);let a=localStorage.getItem("sidebar");a&&(t.dataset.sidebar=a)}catch{}})();
