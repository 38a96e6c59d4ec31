package standard

import (
	"fmt"
	"strings"
)

// ClickBench runs the queries of ClickBench.
func ClickBench(o Options) error {
	const words = "['', '', '', 'google', 'weather', 'cheap flights', 'как сделать', 'buy a car', 'news', 'tv']"
	rows := fmt.Sprintf(`SELECT (hash(i) %% 4611686018427387904)::BIGINT AS WatchID, 'Title ' || r(u, 1, 900) || one(i, 2, ['', ' Google', ' - shop', ' новости']) AS Title,
			DATE '2013-07-01' + r(i, 3, 31)::INTEGER AS EventDate, TIMESTAMP '2013-07-01 00:00:00' + to_seconds(r(i, 3, 31) * 86400 + r(i, 4, 86400)) AS EventTime,
			CASE WHEN r(i, 5, 3) = 0 THEN 62 ELSE r(i, 6, 5000) END AS CounterID, r(i, 7, 4294967296) - 2147483648 AS ClientIP, r(u, 8, 3000) AS RegionID, CASE WHEN u = 77 THEN 435090932899640449 ELSE u * 1000003 END AS UserID,
			one(i, 9, ['http://', 'https://']) || one(i, 10, ['example.com', 'www.google.ru', 'shop.test', 'news.example.org']) || '/p/' || r(i, 11, 20000) AS URL,
			CASE WHEN r(i, 12, 4) = 0 THEN '' ELSE one(i, 13, ['http://', 'https://www.']) || one(i, 14, ['yandex.ru', 'example.com', 'google.com']) || '/q/' || r(i, 15, 5000) END AS Referer,
			one(i, 16, [1024, 1280, 1366, 1920]) AS ResolutionWidth, CASE WHEN r(i, 17, 10) = 0 THEN r(i, 18, 30) ELSE 0 END AS AdvEngineID, r(i, 19, 6) AS SearchEngineID,
			CASE WHEN r(i, 20, 3) = 0 THEN one(i, 21, %[2]s) || one(i, 22, %[2]s) || CASE WHEN r(i, 23, 2) = 0 THEN '' ELSE ' ' || r(i, 24, 3000) END ELSE '' END AS SearchPhrase,
			r(u, 25, 9) AS MobilePhone, one(u, 26, ['', '', '', 'iPad', 'iPhone 2', 'Nokia', 'Z']) AS MobilePhoneModel, r(i, 27, 10) // 9 AS IsRefresh, r(i, 28, 10) // 9 AS DontCountHits, r(i, 29, 3) // 2 AS IsLink,
			r(i, 30, 20) // 19 AS IsDownload, r(i, 31, 9) - 1 AS TraficSourceID, CASE WHEN r(i, 32, 5) = 0 THEN 3594120000172545465 ELSE r(i, 33, 1000) END AS RefererHash,
			CASE WHEN r(i, 34, 5) = 0 THEN 2868770270353813622 ELSE r(i, 35, 1000) END AS URLHash, r(i, 36, 200) * 10 AS WindowClientWidth, r(i, 37, 120) * 10 AS WindowClientHeight
		FROM (SELECT i, r(i, 0, %[1]d) AS u FROM range(%[3]d) t(i))`, max(1000, int(1e5*o.Scale)), words, int(1e6*o.Scale))
	s := suite{tables: []tableOf{{"hits", rows}}}
	for i, text := range strings.Split(strings.TrimSpace(clickbench), "\n") {
		s.list = append(s.list, query{fmt.Sprintf("C%d", i), strings.TrimSuffix(strings.ReplaceAll(text, "FROM hits", "FROM {hits}"), ";")})
	}
	return s.run(o)
}

// clickbench are the queries as ClickBench publishes them for DuckDB. HAVING compares with 10,000
// instead of 100,000 rows, because the table is smaller.
var clickbench = strings.ReplaceAll(`
SELECT COUNT(*) FROM hits;
SELECT COUNT(*) FROM hits WHERE AdvEngineID <> 0;
SELECT SUM(AdvEngineID), COUNT(*), AVG(ResolutionWidth) FROM hits;
SELECT AVG(UserID) FROM hits;
SELECT COUNT(DISTINCT UserID) FROM hits;
SELECT COUNT(DISTINCT SearchPhrase) FROM hits;
SELECT MIN(EventDate), MAX(EventDate) FROM hits;
SELECT AdvEngineID, COUNT(*) FROM hits WHERE AdvEngineID <> 0 GROUP BY AdvEngineID ORDER BY COUNT(*) DESC;
SELECT RegionID, COUNT(DISTINCT UserID) AS u FROM hits GROUP BY RegionID ORDER BY u DESC LIMIT 10;
SELECT RegionID, SUM(AdvEngineID), COUNT(*) AS c, AVG(ResolutionWidth), COUNT(DISTINCT UserID) FROM hits GROUP BY RegionID ORDER BY c DESC LIMIT 10;
SELECT MobilePhoneModel, COUNT(DISTINCT UserID) AS u FROM hits WHERE MobilePhoneModel <> '' GROUP BY MobilePhoneModel ORDER BY u DESC LIMIT 10;
SELECT MobilePhone, MobilePhoneModel, COUNT(DISTINCT UserID) AS u FROM hits WHERE MobilePhoneModel <> '' GROUP BY MobilePhone, MobilePhoneModel ORDER BY u DESC LIMIT 10;
SELECT SearchPhrase, COUNT(*) AS c FROM hits WHERE SearchPhrase <> '' GROUP BY SearchPhrase ORDER BY c DESC LIMIT 10;
SELECT SearchPhrase, COUNT(DISTINCT UserID) AS u FROM hits WHERE SearchPhrase <> '' GROUP BY SearchPhrase ORDER BY u DESC LIMIT 10;
SELECT SearchEngineID, SearchPhrase, COUNT(*) AS c FROM hits WHERE SearchPhrase <> '' GROUP BY SearchEngineID, SearchPhrase ORDER BY c DESC LIMIT 10;
SELECT UserID, COUNT(*) FROM hits GROUP BY UserID ORDER BY COUNT(*) DESC LIMIT 10;
SELECT UserID, SearchPhrase, COUNT(*) FROM hits GROUP BY UserID, SearchPhrase ORDER BY COUNT(*) DESC LIMIT 10;
SELECT UserID, SearchPhrase, COUNT(*) FROM hits GROUP BY UserID, SearchPhrase LIMIT 10;
SELECT UserID, extract(minute FROM EventTime) AS m, SearchPhrase, COUNT(*) FROM hits GROUP BY UserID, m, SearchPhrase ORDER BY COUNT(*) DESC LIMIT 10;
SELECT UserID FROM hits WHERE UserID = 435090932899640449;
SELECT COUNT(*) FROM hits WHERE URL LIKE '%google%';
SELECT SearchPhrase, MIN(URL), COUNT(*) AS c FROM hits WHERE URL LIKE '%google%' AND SearchPhrase <> '' GROUP BY SearchPhrase ORDER BY c DESC LIMIT 10;
SELECT SearchPhrase, MIN(URL), MIN(Title), COUNT(*) AS c, COUNT(DISTINCT UserID) FROM hits WHERE Title LIKE '%Google%' AND URL NOT LIKE '%.google.%' AND SearchPhrase <> '' GROUP BY SearchPhrase ORDER BY c DESC LIMIT 10;
SELECT * FROM hits WHERE URL LIKE '%google%' ORDER BY EventTime LIMIT 10;
SELECT SearchPhrase FROM hits WHERE SearchPhrase <> '' ORDER BY EventTime LIMIT 10;
SELECT SearchPhrase FROM hits WHERE SearchPhrase <> '' ORDER BY SearchPhrase LIMIT 10;
SELECT SearchPhrase FROM hits WHERE SearchPhrase <> '' ORDER BY EventTime, SearchPhrase LIMIT 10;
SELECT CounterID, AVG(STRLEN(URL)) AS l, COUNT(*) AS c FROM hits WHERE URL <> '' GROUP BY CounterID HAVING COUNT(*) > 100000 ORDER BY l DESC LIMIT 25;
SELECT REGEXP_REPLACE(Referer, '^https?://(?:www\.)?([^/]+)/.*$', '\1') AS k, AVG(STRLEN(Referer)) AS l, COUNT(*) AS c, MIN(Referer) FROM hits WHERE Referer <> '' GROUP BY k HAVING COUNT(*) > 100000 ORDER BY l DESC LIMIT 25;
SELECT `+widths()+` FROM hits;
SELECT SearchEngineID, ClientIP, COUNT(*) AS c, SUM(IsRefresh), AVG(ResolutionWidth) FROM hits WHERE SearchPhrase <> '' GROUP BY SearchEngineID, ClientIP ORDER BY c DESC LIMIT 10;
SELECT WatchID, ClientIP, COUNT(*) AS c, SUM(IsRefresh), AVG(ResolutionWidth) FROM hits WHERE SearchPhrase <> '' GROUP BY WatchID, ClientIP ORDER BY c DESC LIMIT 10;
SELECT WatchID, ClientIP, COUNT(*) AS c, SUM(IsRefresh), AVG(ResolutionWidth) FROM hits GROUP BY WatchID, ClientIP ORDER BY c DESC LIMIT 10;
SELECT URL, COUNT(*) AS c FROM hits GROUP BY URL ORDER BY c DESC LIMIT 10;
SELECT 1, URL, COUNT(*) AS c FROM hits GROUP BY 1, URL ORDER BY c DESC LIMIT 10;
SELECT ClientIP, ClientIP - 1, ClientIP - 2, ClientIP - 3, COUNT(*) AS c FROM hits GROUP BY ClientIP, ClientIP - 1, ClientIP - 2, ClientIP - 3 ORDER BY c DESC LIMIT 10;
SELECT URL, COUNT(*) AS PageViews FROM hits WHERE CounterID = 62 AND EventDate >= '2013-07-01' AND EventDate <= '2013-07-31' AND DontCountHits = 0 AND IsRefresh = 0 AND URL <> '' GROUP BY URL ORDER BY PageViews DESC LIMIT 10;
SELECT Title, COUNT(*) AS PageViews FROM hits WHERE CounterID = 62 AND EventDate >= '2013-07-01' AND EventDate <= '2013-07-31' AND DontCountHits = 0 AND IsRefresh = 0 AND Title <> '' GROUP BY Title ORDER BY PageViews DESC LIMIT 10;
SELECT URL, COUNT(*) AS PageViews FROM hits WHERE CounterID = 62 AND EventDate >= '2013-07-01' AND EventDate <= '2013-07-31' AND IsRefresh = 0 AND IsLink <> 0 AND IsDownload = 0 GROUP BY URL ORDER BY PageViews DESC LIMIT 10 OFFSET 1000;
SELECT TraficSourceID, SearchEngineID, AdvEngineID, CASE WHEN (SearchEngineID = 0 AND AdvEngineID = 0) THEN Referer ELSE '' END AS Src, URL AS Dst, COUNT(*) AS PageViews FROM hits WHERE CounterID = 62 AND EventDate >= '2013-07-01' AND EventDate <= '2013-07-31' AND IsRefresh = 0 GROUP BY TraficSourceID, SearchEngineID, AdvEngineID, Src, Dst ORDER BY PageViews DESC LIMIT 10 OFFSET 1000;
SELECT URLHash, EventDate, COUNT(*) AS PageViews FROM hits WHERE CounterID = 62 AND EventDate >= '2013-07-01' AND EventDate <= '2013-07-31' AND IsRefresh = 0 AND TraficSourceID IN (-1, 6) AND RefererHash = 3594120000172545465 GROUP BY URLHash, EventDate ORDER BY PageViews DESC LIMIT 10 OFFSET 100;
SELECT WindowClientWidth, WindowClientHeight, COUNT(*) AS PageViews FROM hits WHERE CounterID = 62 AND EventDate >= '2013-07-01' AND EventDate <= '2013-07-31' AND IsRefresh = 0 AND DontCountHits = 0 AND URLHash = 2868770270353813622 GROUP BY WindowClientWidth, WindowClientHeight ORDER BY PageViews DESC LIMIT 10 OFFSET 10000;
SELECT DATE_TRUNC('minute', EventTime) AS M, COUNT(*) AS PageViews FROM hits WHERE CounterID = 62 AND EventDate >= '2013-07-14' AND EventDate <= '2013-07-15' AND IsRefresh = 0 AND DontCountHits = 0 GROUP BY DATE_TRUNC('minute', EventTime) ORDER BY DATE_TRUNC('minute', EventTime) LIMIT 10 OFFSET 1000;
`, "> 100000", "> 10000")

// widths are the 90 sums of the query that has so many.
func widths() string {
	all := []string{"SUM(ResolutionWidth)"}
	for i := 1; i < 90; i++ {
		all = append(all, fmt.Sprintf("SUM(ResolutionWidth + %d)", i))
	}
	return strings.Join(all, ", ")
}
