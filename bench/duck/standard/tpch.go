package standard

import "fmt"

// TPCH runs seven queries of TPC-H.
func TPCH(o Options) error {
	n := func(atScaleOne float64) int { return int(atScaleOne * o.Scale) }
	s := suite{tables: []tableOf{
		{"region", "SELECT i AS r_regionkey, ['AFRICA', 'AMERICA', 'ASIA', 'EUROPE', 'MIDDLE EAST'][i + 1] AS r_name FROM range(5) t(i)"},
		{"nation", "SELECT i AS n_nationkey, 'NATION ' || i AS n_name, i % 5 AS n_regionkey FROM range(25) t(i)"},
		{"supplier", fmt.Sprintf("SELECT i + 1 AS s_suppkey, r(i, 1, 25) AS s_nationkey FROM range(%d) t(i)", n(10_000))},
		{"customer", fmt.Sprintf("SELECT i + 1 AS c_custkey, r(i, 2, 25) AS c_nationkey, one(i, 3, ['AUTOMOBILE', 'BUILDING', 'FURNITURE', 'HOUSEHOLD', 'MACHINERY']) AS c_mktsegment FROM range(%d) t(i)", n(150_000))},
		{"part", fmt.Sprintf(`SELECT i + 1 AS p_partkey, 'Brand#' || (1 + r(i, 4, 5)) || (1 + r(i, 5, 5)) AS p_brand, 1 + r(i, 6, 50) AS p_size,
			one(i, 7, ['STANDARD', 'SMALL', 'MEDIUM', 'LARGE', 'ECONOMY', 'PROMO']) || ' ' || one(i, 8, ['ANODIZED', 'BURNISHED', 'PLATED']) || ' ' || one(i, 9, ['TIN', 'NICKEL', 'BRASS']) AS p_type,
			one(i, 10, ['SM', 'LG', 'MED', 'JUMBO', 'WRAP']) || ' ' || one(i, 11, ['CASE', 'BOX', 'BAG', 'JAR', 'PKG', 'PACK', 'CAN', 'DRUM']) AS p_container FROM range(%d) t(i)`, n(200_000))},
		{"orders", fmt.Sprintf(`SELECT i * 4 + 1 AS o_orderkey, 1 + r(i, 12, %d) AS o_custkey, DATE '1992-01-01' + r(i, 13, 2406)::INTEGER AS o_orderdate, 0 AS o_shippriority,
			one(i, 14, ['1-URGENT', '2-HIGH', '3-MEDIUM', '4-NOT SPECIFIED', '5-LOW']) AS o_orderpriority FROM range(%d) t(i)`, n(150_000), n(1_500_000))},
		{"lineitem", fmt.Sprintf(`SELECT l_orderkey, l_partkey, l_suppkey, l_quantity::DECIMAL(15,2) AS l_quantity, (l_quantity * (900 + l_partkey %% 1000) + l_partkey %% 100 / 100.0)::DECIMAL(15,2) AS l_extendedprice, l_discount, l_tax,
				CASE WHEN receipt <= DATE '1995-06-17' THEN one(k, 20, ['R', 'A']) ELSE 'N' END AS l_returnflag, CASE WHEN ship > DATE '1995-06-17' THEN 'O' ELSE 'F' END AS l_linestatus,
				ship AS l_shipdate, l_commitdate, receipt AS l_receiptdate, l_shipinstruct, l_shipmode
			FROM (SELECT *, ship + 1 + r(k, 29, 30)::INTEGER AS receipt FROM (
				SELECT i * 8 + l AS k, i * 4 + 1 AS l_orderkey, 1 + r(k, 21, %d) AS l_partkey, 1 + r(k, 22, %d) AS l_suppkey, 1 + r(k, 23, 50) AS l_quantity, (r(k, 24, 11) / 100.0)::DECIMAL(15,2) AS l_discount,
					(r(k, 25, 9) / 100.0)::DECIMAL(15,2) AS l_tax, DATE '1992-01-01' + (r(i, 13, 2406) + 1 + r(k, 26, 121))::INTEGER AS ship, DATE '1992-01-01' + (r(i, 13, 2406) + 30 + r(k, 27, 61))::INTEGER AS l_commitdate,
					one(k, 28, ['DELIVER IN PERSON', 'COLLECT COD', 'NONE', 'TAKE BACK RETURN']) AS l_shipinstruct, one(k, 30, ['REG AIR', 'AIR', 'RAIL', 'SHIP', 'TRUCK', 'MAIL', 'FOB']) AS l_shipmode
				FROM range(%d) t(i), range(1, 8) u(l) WHERE l <= 1 + r(i, 31, 7)))`, n(200_000), n(10_000), n(1_500_000))},
	}, list: tpch}
	return s.run(o)
}

var tpch = []query{
	{"Q1", `SELECT l_returnflag, l_linestatus, sum(l_quantity) AS sum_qty, sum(l_extendedprice) AS sum_base_price, sum(l_extendedprice * (1 - l_discount)) AS sum_disc_price,
		sum(l_extendedprice * (1 - l_discount) * (1 + l_tax)) AS sum_charge, avg(l_quantity) AS avg_qty, avg(l_extendedprice) AS avg_price, avg(l_discount) AS avg_disc, count(*) AS count_order
		FROM {lineitem} WHERE l_shipdate <= DATE '1998-12-01' - INTERVAL '90' DAY GROUP BY l_returnflag, l_linestatus ORDER BY l_returnflag, l_linestatus`},
	{"Q3", `SELECT l_orderkey, sum(l_extendedprice * (1 - l_discount)) AS revenue, o_orderdate, o_shippriority FROM {customer}, {orders}, {lineitem}
		WHERE c_mktsegment = 'BUILDING' AND c_custkey = o_custkey AND l_orderkey = o_orderkey AND o_orderdate < DATE '1995-03-15' AND l_shipdate > DATE '1995-03-15'
		GROUP BY l_orderkey, o_orderdate, o_shippriority ORDER BY revenue DESC, o_orderdate LIMIT 10`},
	{"Q5", `SELECT n_name, sum(l_extendedprice * (1 - l_discount)) AS revenue FROM {customer}, {orders}, {lineitem}, {supplier}, {nation}, {region}
		WHERE c_custkey = o_custkey AND l_orderkey = o_orderkey AND l_suppkey = s_suppkey AND c_nationkey = s_nationkey AND s_nationkey = n_nationkey AND n_regionkey = r_regionkey
		AND r_name = 'ASIA' AND o_orderdate >= DATE '1994-01-01' AND o_orderdate < DATE '1994-01-01' + INTERVAL '1' YEAR GROUP BY n_name ORDER BY revenue DESC`},
	{"Q6", `SELECT sum(l_extendedprice * l_discount) AS revenue FROM {lineitem}
		WHERE l_shipdate >= DATE '1994-01-01' AND l_shipdate < DATE '1994-01-01' + INTERVAL '1' YEAR AND l_discount BETWEEN 0.06 - 0.01 AND 0.06 + 0.01 AND l_quantity < 24`},
	{"Q12", `SELECT l_shipmode, sum(CASE WHEN o_orderpriority = '1-URGENT' OR o_orderpriority = '2-HIGH' THEN 1 ELSE 0 END) AS high_line_count,
		sum(CASE WHEN o_orderpriority <> '1-URGENT' AND o_orderpriority <> '2-HIGH' THEN 1 ELSE 0 END) AS low_line_count FROM {orders}, {lineitem}
		WHERE o_orderkey = l_orderkey AND l_shipmode IN ('MAIL', 'SHIP') AND l_commitdate < l_receiptdate AND l_shipdate < l_commitdate
		AND l_receiptdate >= DATE '1994-01-01' AND l_receiptdate < DATE '1994-01-01' + INTERVAL '1' YEAR GROUP BY l_shipmode ORDER BY l_shipmode`},
	{"Q14", `SELECT 100.00 * sum(CASE WHEN p_type LIKE 'PROMO%' THEN l_extendedprice * (1 - l_discount) ELSE 0 END) / sum(l_extendedprice * (1 - l_discount)) AS promo_revenue
		FROM {lineitem}, {part} WHERE l_partkey = p_partkey AND l_shipdate >= DATE '1995-09-01' AND l_shipdate < DATE '1995-09-01' + INTERVAL '1' MONTH`},
	{"Q19", `SELECT sum(l_extendedprice * (1 - l_discount)) AS revenue FROM {lineitem}, {part}
		WHERE (p_partkey = l_partkey AND p_brand = 'Brand#12' AND p_container IN ('SM CASE', 'SM BOX', 'SM PACK', 'SM PKG') AND l_quantity >= 1 AND l_quantity <= 1 + 10 AND p_size BETWEEN 1 AND 5 AND l_shipmode IN ('AIR', 'AIR REG') AND l_shipinstruct = 'DELIVER IN PERSON')
		OR (p_partkey = l_partkey AND p_brand = 'Brand#23' AND p_container IN ('MED BAG', 'MED BOX', 'MED PKG', 'MED PACK') AND l_quantity >= 10 AND l_quantity <= 10 + 10 AND p_size BETWEEN 1 AND 10 AND l_shipmode IN ('AIR', 'AIR REG') AND l_shipinstruct = 'DELIVER IN PERSON')
		OR (p_partkey = l_partkey AND p_brand = 'Brand#34' AND p_container IN ('LG CASE', 'LG BOX', 'LG PACK', 'LG PKG') AND l_quantity >= 20 AND l_quantity <= 20 + 10 AND p_size BETWEEN 1 AND 15 AND l_shipmode IN ('AIR', 'AIR REG') AND l_shipinstruct = 'DELIVER IN PERSON')`},
}
