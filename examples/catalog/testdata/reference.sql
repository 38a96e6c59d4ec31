-- The documents of the catalogue as one statement, with the cleaning, but without price_level.
WITH RECURSIVE tree AS (
	SELECT id, name AS path FROM categories WHERE parent IS NULL
	UNION ALL SELECT c.id, t.path || ' > ' || c.name FROM categories c JOIN tree t ON t.id = c.parent
), euros (currency, rate) AS (VALUES ('EUR', 1::float8), ('USD', 0.86), ('GBP', 1.15))
SELECT p.id, json_build_object('id', p.id, 'sku', p.sku, 'title', trim(p.title), 'brand', coalesce(b.name, '(none)'), 'category', tree.path,
	'price', floor((r.price * 100)::float8 * rate + 0.5) / 100, 'stock', greatest(0, s.quantity), 'rating', p.rating,
	'attributes', a.list, 'image', i.url, 'changed', floor(extract(epoch FROM p.updated_at) * 1000000))
FROM products p JOIN tree ON tree.id = p.category_id LEFT JOIN brands b ON b.id = p.brand_id
JOIN prices r ON r.product_id = p.id AND r.market = 'DE' AND r.price > 0 JOIN euros ON euros.currency = upper(r.currency)
LEFT JOIN (SELECT product_id, sum(quantity) AS quantity FROM stock GROUP BY product_id) s ON s.product_id = p.id
LEFT JOIN (SELECT product_id, json_object_agg(name, value) AS list FROM attributes GROUP BY product_id) a ON a.product_id = p.id
LEFT JOIN images i ON i.product_id = p.id AND i.position = 1
