package main

import (
	"fmt"
	"time"
)

// Cents is an amount of money in hundredths. Whole cents add up exactly in any order; floats do
// not.
type Cents int64

// String writes the amount as 12.34.
func (c Cents) String() string {
	sign := ""
	if c < 0 {
		sign, c = "-", -c
	}
	return fmt.Sprintf("%s%d.%02d", sign, c/100, c%100)
}

// Product is one line of the product files. The tag decimal makes jsonio read 12.34 as 1234 cents.
// ID and SKU identify the product. Title, Brand and Category are texts for buyers. Price is for one
// piece, in Currency, such as EUR. Stock counts pieces. Rating is from 1 to 5 stars. Attributes are
// free, such as color. Image is the address of a picture. UpdatedAt is the time of the last change.
type Product struct {
	ID         int64             `json:"id"`
	SKU        string            `json:"sku"`
	Title      string            `json:"title"`
	Brand      string            `json:"brand"`
	Category   string            `json:"category"`
	Price      Cents             `json:"price" decimal:"2"`
	Currency   string            `json:"currency"`
	Stock      int64             `json:"stock"`
	Rating     float64           `json:"rating"`
	Attributes map[string]string `json:"attributes,omitempty"`
	Image      string            `json:"image,omitempty"`
	UpdatedAt  time.Time         `json:"updated_at"`
}

// Revenue returns the value of the whole stock at the current price.
func (p Product) Revenue() Cents { return p.Price * Cents(p.Stock) }

// Override is one row of the price file. Price, in euros, replaces the price in the product file of
// the product with this SKU.
type Override struct {
	SKU   string `csv:"sku"`
	Price Cents  `csv:"price" decimal:"2"`
}

// Listing is one line of the output: a clean product with CategoryMedian, the median price of its
// category.
type Listing struct {
	Product
	CategoryMedian Cents   `json:"category_median" decimal:"2"`
	PriceLevel     float64 `json:"price_level"` // price as a multiple of the median
}
