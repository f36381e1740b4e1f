// The search page: looks for what the address asks for, and keeps the address at what the box asks for.
const searches = window.PagefindComponents.getInstanceManager().getInstance("default");
const address = new URL(location.href);
searches.on("search", words => {
  address.searchParams.set("q", words);
  history.replaceState({}, "", address);
});
if (address.searchParams.get("q")) searches.triggerSearch(address.searchParams.get("q"));
